/* Folders: the names that programs see, and which of their changes are on the disk.
 *
 * A change of names binds one or two names anew (rename binds two) and is atomic. It is on the disk when its folder
 * was synced. A cut lets any of the other changes survive that can: a change needs those that bound its names before.
 */
#include "faultfs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world world;
static off_t next_cookie = 3; /* behind "." and ".." */

node *new_node(mode_t mode, uid_t uid, gid_t gid)
{
    node *made = calloc(1, sizeof *made);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    made->now = (attributes){mode, uid, gid, now};
    made->durable = made->now;
    made->atime = made->ctime = now;
    made->fd = -1;
    made->number = ++world.node_count;
    world.nodes = realloc(world.nodes, (world.node_count + 1) * sizeof *world.nodes);
    world.nodes[made->number] = made;
    return made;
}

node *node_of(fuse_ino_t number)
{
    return number && number <= world.node_count ? world.nodes[number] : NULL;
}

entry *find(directory *where, const char *name)
{
    for (size_t at = 0; at < where->count; at++)
        if (!strcmp(where->entries[at].name, name))
            return &where->entries[at];
    return NULL;
}

void bind_name(directory *where, const char *name, node *what)
{
    entry *old = find(where, name);
    if (old && what) {
        old->what = what;
    } else if (old) {
        free(old->name);
        size_t behind = where->count - (size_t)(old - where->entries) - 1;
        memmove(old, old + 1, behind * sizeof *old);
        where->count--;
    } else if (what) {
        where->entries = realloc(where->entries, (where->count + 1) * sizeof *where->entries);
        where->entries[where->count++] = (entry){strdup(name), what, next_cookie++};
    }
}

void record_change(const binding *bindings, int count, node *emptied)
{
    change *one = calloc(1, sizeof *one);
    one->count = count;
    one->emptied = emptied;
    for (int at = 0; at < count; at++) {
        one->bindings[at] = bindings[at];
        one->bindings[at].name = strdup(bindings[at].name);
        bind_name(&bindings[at].folder->live, bindings[at].name, bindings[at].after);
        clock_gettime(CLOCK_REALTIME, &bindings[at].folder->now.mtime);
        bindings[at].folder->attributes_dirty = true;
        if (bindings[at].after)
            bindings[at].after->parent = bindings[at].folder;
    }
    change **last = &world.changes;
    while (*last)
        last = &(*last)->next;
    *last = one;
}

static void forget_change(change **place)
{
    change *one = *place;
    *place = one->next;
    for (int at = 0; at < one->count; at++)
        free(one->bindings[at].name);
    free(one);
}

bool fits_disk(const change *one)
{
    for (int at = 0; at < one->count; at++) {
        const binding *name = &one->bindings[at];
        entry *there = find(&name->folder->on_disk, name->name);
        if ((there ? there->what : NULL) != name->before)
            return false;
    }
    return !one->emptied || !one->emptied->on_disk.count;
}

void apply_to_disk(change *one)
{
    for (int at = 0; at < one->count; at++)
        bind_name(&one->bindings[at].folder->on_disk, one->bindings[at].name, one->bindings[at].after);
}

static bool touches(const change *one, const node *folder)
{
    for (int at = 0; at < one->count; at++)
        if (one->bindings[at].folder == folder)
            return true;
    return false;
}

/* Whether `later` can be on the disk only after `earlier`. */
static bool needs(const change *later, const change *earlier)
{
    for (int at = 0; at < later->count; at++)
        for (int other = 0; other < earlier->count; other++)
            if (later->bindings[at].folder == earlier->bindings[other].folder &&
                !strcmp(later->bindings[at].name, earlier->bindings[other].name))
                return true;
    return later->emptied && touches(earlier, later->emptied);
}

static void apply_chosen(void)
{
    for (change **place = &world.changes; *place;) {
        if (!(*place)->chosen) {
            place = &(*place)->next;
            continue;
        }
        apply_to_disk(*place);
        forget_change(place);
    }
}

void folder_synced(node *folder)
{
    bool more = false;
    for (change *one = world.changes; one; one = one->next)
        more |= one->chosen = touches(one, folder);
    while (more) {
        more = false;
        for (change *later = world.changes; later; later = later->next)
            for (change *one = world.changes; later->chosen && one != later; one = one->next)
                if (!one->chosen && needs(later, one))
                    more = one->chosen = true;
    }
    apply_chosen();
    folder->durable = folder->now;
    folder->attributes_dirty = false;
}

void all_names_synced(void)
{
    for (change *one = world.changes; one; one = one->next)
        one->chosen = true;
    apply_chosen();
    for (uint64_t number = 1; number <= world.node_count; number++) {
        node *one = world.nodes[number];
        one->durable = one->now;
        one->attributes_dirty = false;
    }
}

void path_of(node *what, const char *last, char *path, size_t space)
{
    char built[2 * PAGE] = "";
    snprintf(built, sizeof built, "%s%s", last ? "/" : "", last ? last : "");
    for (node *one = what; one && one->parent; one = one->parent) {
        const char *name = "?";
        for (size_t at = 0; at < one->parent->live.count; at++)
            if (one->parent->live.entries[at].what == one)
                name = one->parent->live.entries[at].name;
        char longer[2 * PAGE];
        if (snprintf(longer, sizeof longer, "/%s%s", name, built) >= (int)sizeof longer)
            break;
        strcpy(built, longer);
    }
    snprintf(path, space, "%s", *built ? built : "/");
}
