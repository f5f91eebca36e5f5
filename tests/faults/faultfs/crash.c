/* The power cut. Of each file the disk holds what was synced, and of the mutations since then any part that a disk
 * could hold: of each sector a first few of those that touched it, in their order, and no sector depends on another.
 * Of the changes of names and attributes that no sync brought to the disk, each survives or not.
 *
 * One number decides all of it. The outcome replaces the backing folder.
 */
#include "faultfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

static uint64_t state;

/* splitmix64 */
static uint64_t draw(void)
{
    uint64_t value = state += 0x9E3779B97F4A7C15ull;
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9ull;
    value = (value ^ value >> 27) * 0x94D049BB133111EBull;
    return value ^ value >> 31;
}

static bool luck(unsigned percent)
{
    return draw() % 100 < percent;
}

/* How much of what was not synced survives; drawn once for a file, so that whole kinds of loss come about. */
enum style { NOTHING, EVERYTHING, ANY_PREFIX, EACH_SECTOR, EACH_MUTATION, UP_TO_ONE, STYLES };

typedef struct {
    enum style style;
    unsigned percent;
    size_t sizes;   /* so many of the changes of the length survive */
    size_t last;    /* UP_TO_ONE: mutations before this one survive, this one is torn */
    bool *survives; /* EACH_MUTATION */
} fate;

static bool concerns(const mutation *one, off_t sector)
{
    if (one->effect == SHORTENED)
        return sector + SECTOR > one->size;
    return one->effect != EXTENDED && one->offset < sector + SECTOR && one->offset + (off_t)one->length > sector;
}

static void apply(const mutation *one, off_t sector, char *bytes)
{
    off_t start = one->effect == SHORTENED ? one->size : one->offset;
    off_t end = one->effect == SHORTENED ? sector + SECTOR : one->offset + (off_t)one->length;
    off_t from = start > sector ? start : sector;
    off_t to = end < sector + SECTOR ? end : sector + SECTOR;
    if (one->effect == WRITTEN)
        memcpy(bytes + (from - sector), one->data + (from - one->offset), (size_t)(to - from));
    else
        memset(bytes + (from - sector), 0, (size_t)(to - from));
}

/* Brings a sector from what the disk held to what it holds after the cut. */
static void sector_after(const node *file, const fate *how, off_t sector, char *bytes)
{
    size_t first = 0, behind = file->mutation_count, sizes = 0, found = 0;
    /* What a lost shortening would have freed is as it was before, and what came after it was written elsewhere. */
    for (size_t at = 0; at < file->mutation_count; at++) {
        const mutation *one = &file->mutations[at];
        bool length = one->effect == SHORTENED || one->effect == EXTENDED;
        if (length && one->effect == SHORTENED && concerns(one, sector)) {
            if (sizes < how->sizes)
                first = at + 1;
            else if (behind == file->mutation_count)
                behind = at;
        }
        sizes += length;
    }
    for (size_t at = first; at < behind; at++)
        found += concerns(&file->mutations[at], sector);
    size_t wanted = found;
    if (how->style == NOTHING)
        wanted = 0;
    else if (how->style == ANY_PREFIX)
        wanted = draw() % (found + 1);
    else if (how->style == EACH_SECTOR)
        wanted = luck(how->percent) ? found : 0;
    for (size_t at = 0; at < behind; at++) {
        const mutation *one = &file->mutations[at];
        if (!concerns(one, sector))
            continue;
        if (at >= first) {
            if (!wanted--)
                return;
            if (how->style == EACH_MUTATION && !how->survives[at] && luck(90))
                return;
            if (how->style == UP_TO_ONE && (at > how->last || (at == how->last && luck(50))))
                return;
        }
        apply(one, sector, bytes);
    }
}

static int content_after(node *file, bool nothing)
{
    fate how = {nothing ? NOTHING : draw() % STYLES, (unsigned[]){10, 50, 90}[draw() % 3], 0, 0, NULL};
    if (!file->mutation_count)
        return 0;
    size_t sizes = 0;
    for (size_t at = 0; at < file->mutation_count; at++)
        sizes += file->mutations[at].effect == SHORTENED || file->mutations[at].effect == EXTENDED;
    how.sizes = how.style == NOTHING ? 0 : how.style == EVERYTHING ? sizes : draw() % (sizes + 1);
    how.last = draw() % file->mutation_count;
    how.survives = calloc(file->mutation_count, sizeof *how.survives);
    for (size_t at = 0; at < file->mutation_count; at++)
        how.survives[at] = luck(50);
    off_t size = file->durable_size;
    sizes = 0;
    for (size_t at = 0; at < file->mutation_count; at++) {
        const mutation *one = &file->mutations[at];
        if ((one->effect == SHORTENED || one->effect == EXTENDED) && sizes++ < how.sizes)
            size = one->size;
    }
    if (world.journal)
        how.style = size > file->durable_size ? EVERYTHING : how.style;
    int result = 0;
    for (size_t at = 0; at < file->shadow_space && !result; at++) {
        char *bytes = file->shadows[at].held;
        if (!bytes)
            continue;
        off_t start = file->shadows[at].page * PAGE;
        for (off_t sector = 0; sector < PAGE; sector += SECTOR)
            sector_after(file, &how, start + sector, bytes + sector);
        if (pwrite(file->fd, bytes, PAGE, start) != PAGE)
            result = -errno;
    }
    if (!result && ftruncate(file->fd, size))
        result = -errno;
    free(how.survives);
    return result;
}

static int put_attributes(const node *what, const char *path)
{
    struct timespec times[2] = {what->atime, what->durable.mtime};
    for (const struct extra *one = what->extras; one; one = one->next)
        if (lsetxattr(path, one->name, one->value, one->length, 0))
            return -errno;
    if (lchown(path, what->durable.uid, what->durable.gid))
        return -errno;
    if (!S_ISLNK(what->durable.mode) && chmod(path, what->durable.mode & 07777))
        return -errno;
    return utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

/* Writes the tree as the disk holds it. */
static int put_tree(const node *folder, const char *path)
{
    int result = 0;
    for (size_t at = 0; at < folder->on_disk.count && !result; at++) {
        const entry *one = &folder->on_disk.entries[at];
        const node *what = one->what;
        char below[PAGE], stored[PAGE];
        snprintf(below, sizeof below, "%s/%s", path, one->name);
        snprintf(stored, sizeof stored, "%s/%llu", world.store, (unsigned long long)what->number);
        if (S_ISDIR(what->durable.mode))
            result = mkdir(below, 0700) ? -errno : put_tree(what, below);
        else if (S_ISLNK(what->durable.mode))
            result = symlink(what->link_target, below) ? -errno : 0;
        else if (S_ISREG(what->durable.mode))
            result = link(stored, below) ? -errno : 0;
        else
            result = mknod(below, what->durable.mode, what->device) ? -errno : 0;
        if (!result)
            result = put_attributes(what, below);
    }
    return result ? result : put_attributes(folder, path);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status, (void)kind, (void)where;
    return remove(path);
}

/* Puts the tree as the disk holds it in the place of the backing folder. */
static int replace_backing(void)
{
    char made[PAGE], old[PAGE];
    snprintf(made, sizeof made, "%s.made", world.backing);
    snprintf(old, sizeof old, "%s.old", world.backing);
    int result = mkdir(made, 0700) ? -errno : put_tree(world.nodes[1], made);
    if (result)
        return result;
    if (rename(world.backing, old) || rename(made, world.backing))
        return -errno;
    nftw(old, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    nftw(world.store, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    world.dead = true;
    return 0;
}

/* nothing: of what was not synced nothing survives. */
int cut_power(uint64_t seed, bool nothing, char *report, size_t space)
{
    state = seed;
    size_t mutations = 0, names = 0, kept = 0;
    unsigned percent = nothing ? 0 : (unsigned[]){0, 50, 90, 100}[draw() % 4];
    bool broken = false;
    for (change *one = world.changes; one; one = one->next) {
        names++;
        if (broken || !luck(percent)) {
            broken = world.journal;
        } else if (fits_disk(one)) {
            apply_to_disk(one);
            kept++;
        }
    }
    int result = 0;
    for (uint64_t number = 1; number <= world.node_count && !result; number++) {
        node *one = world.nodes[number];
        mutations += one->mutation_count;
        if (one->attributes_dirty && luck(percent))
            one->durable = one->now;
        if (one->fd >= 0)
            result = content_after(one, nothing);
    }
    if (!result)
        result = replace_backing();
    snprintf(report, space, "cut %llu mutations=%zu names=%zu kept=%zu syncs=%llu", (unsigned long long)world.mutating,
             mutations, names, kept, (unsigned long long)world.syncs);
    return result;
}

int end_in_order(void)
{
    all_names_synced();
    return replace_backing();
}

static int load_folder(node *folder, const char *path)
{
    DIR *open_folder = opendir(path);
    if (!open_folder)
        return -errno;
    int result = 0;
    for (struct dirent *one; !result && (one = readdir(open_folder));) {
        struct stat status;
        char below[PAGE], target[PAGE];
        if (!strcmp(one->d_name, ".") || !strcmp(one->d_name, ".."))
            continue;
        snprintf(below, sizeof below, "%s/%s", path, one->d_name);
        if (lstat(below, &status)) {
            result = -errno;
            break;
        }
        node *what = new_node(status.st_mode, status.st_uid, status.st_gid);
        what->now.mtime = what->durable.mtime = status.st_mtim;
        what->device = status.st_rdev;
        what->names = 1;
        what->parent = folder;
        bind_name(&folder->live, one->d_name, what);
        bind_name(&folder->on_disk, one->d_name, what);
        if (S_ISREG(status.st_mode))
            result = open_content(what, below);
        else if (S_ISDIR(status.st_mode))
            result = load_folder(what, below);
        else if (S_ISLNK(status.st_mode)) {
            ssize_t length = readlink(below, target, sizeof target - 1);
            target[length < 0 ? 0 : length] = 0;
            what->link_target = strdup(target);
        }
    }
    closedir(open_folder);
    return result;
}

int load_tree(void)
{
    struct stat status;
    if (stat(world.backing, &status) || (mkdir(world.store, 0700) && errno != EEXIST))
        return -errno;
    node *root = new_node(status.st_mode, status.st_uid, status.st_gid);
    root->lookups = 1;
    root->names = 1;
    return load_folder(root, world.backing);
}
