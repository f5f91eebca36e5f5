/* What each request of the kernel does. Locks are the kernel's own: it keeps them for file systems that do not. */
#include "faultfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define VALID_SECONDS 3600.0 /* nothing changes but through the kernel */

static struct stat status_of(const node *one)
{
    struct stat status = {0};
    status.st_ino = one->number;
    status.st_mode = one->now.mode;
    status.st_nlink = S_ISDIR(one->now.mode) ? 2 : one->names;
    status.st_uid = one->now.uid;
    status.st_gid = one->now.gid;
    status.st_rdev = one->device;
    status.st_blksize = PAGE;
    status.st_atim = one->atime;
    status.st_mtim = one->now.mtime;
    status.st_ctim = one->ctime;
    if (one->fd >= 0) {
        struct stat stored;
        status.st_size = one->size;
        if (!fstat(one->fd, &stored)) {
            status.st_blocks = stored.st_blocks;
            status.st_ino = stored.st_ino; /* the same after a cut, as on any disk */
        }
    }
    return status;
}

static struct fuse_entry_param entry_of(node *one)
{
    one->lookups++;
    return (struct fuse_entry_param){one->number, 0, status_of(one), VALID_SECONDS, VALID_SECONDS};
}

static void start(void *data, struct fuse_conn_info *connection)
{
    (void)data;
    if (world.writeback)
        connection->want |= connection->capable & FUSE_CAP_WRITEBACK_CACHE;
    connection->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_READDIRPLUS |
                                  FUSE_CAP_AUTO_INVAL_DATA);
    connection->max_background = 64;
}

static void look_up(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    entry *found = find(&node_of(parent)->live, name);
    if (!found) {
        fuse_reply_err(request, ENOENT);
        return;
    }
    struct fuse_entry_param answer = entry_of(found->what);
    fuse_reply_entry(request, &answer);
}

static void forget_if_unused(node *one)
{
    if (one->fd < 0 || one->lookups || one->names)
        return;
    for (const change *pending = world.changes; pending; pending = pending->next)
        for (int at = 0; at < pending->count; at++)
            if (pending->bindings[at].before == one || pending->bindings[at].after == one)
                return;
    for (uint64_t number = 1; number <= world.node_count; number++)
        for (size_t at = 0; at < world.nodes[number]->on_disk.count; at++)
            if (world.nodes[number]->on_disk.entries[at].what == one)
                return;
    forget_content(one);
}

static void forget(fuse_req_t request, fuse_ino_t number, uint64_t lookups)
{
    node *one = node_of(number);
    one->lookups -= lookups < one->lookups ? lookups : one->lookups;
    if (!world.dead)
        forget_if_unused(one);
    fuse_reply_none(request);
}

static void get_attributes(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *file)
{
    (void)file;
    struct stat status = status_of(node_of(number));
    fuse_reply_attr(request, &status, VALID_SECONDS);
}

static void set_attributes(fuse_req_t request, fuse_ino_t number, struct stat *to, int which,
                           struct fuse_file_info *file)
{
    (void)file;
    node *one = node_of(number);
    if (which & FUSE_SET_ATTR_SIZE) {
        int result = one->fd < 0 ? -EINVAL : resize_content(one, to->st_size);
        if (result) {
            fuse_reply_err(request, -result);
            return;
        }
    }
    if (which & FUSE_SET_ATTR_MODE)
        one->now.mode = (one->now.mode & S_IFMT) | (to->st_mode & 07777);
    if (which & FUSE_SET_ATTR_UID)
        one->now.uid = to->st_uid;
    if (which & FUSE_SET_ATTR_GID)
        one->now.gid = to->st_gid;
    if (which & FUSE_SET_ATTR_MTIME)
        one->now.mtime = to->st_mtim;
    if (which & FUSE_SET_ATTR_ATIME)
        one->atime = to->st_atim;
    if (which & FUSE_SET_ATTR_MTIME_NOW)
        clock_gettime(CLOCK_REALTIME, &one->now.mtime);
    if (which & FUSE_SET_ATTR_ATIME_NOW)
        clock_gettime(CLOCK_REALTIME, &one->atime);
    clock_gettime(CLOCK_REALTIME, &one->ctime);
    one->attributes_dirty = true;
    get_attributes(request, number, NULL);
}

static void read_link(fuse_req_t request, fuse_ino_t number)
{
    fuse_reply_readlink(request, node_of(number)->link_target);
}

/* A new node under a name; NULL when the name is taken or no file can be made (an answer was given). */
static node *make(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode)
{
    const struct fuse_ctx *context = fuse_req_ctx(request);
    node *folder = node_of(parent);
    if (find(&folder->live, name)) {
        fuse_reply_err(request, EEXIST);
        return NULL;
    }
    node *made = new_node(mode, context->uid, context->gid);
    int result = S_ISREG(mode) ? open_content(made, NULL) : 0;
    if (result) {
        fuse_reply_err(request, -result);
        return NULL;
    }
    made->names = 1;
    record_change(&(binding){folder, (char *)name, NULL, made}, 1, NULL);
    return made;
}

static void make_node(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
    node *made = make(request, parent, name, mode);
    if (!made)
        return;
    made->device = device;
    struct fuse_entry_param answer = entry_of(made);
    fuse_reply_entry(request, &answer);
}

static void make_folder(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode)
{
    make_node(request, parent, name, S_IFDIR | mode, 0);
}

static void make_link(fuse_req_t request, const char *target, fuse_ino_t parent, const char *name)
{
    node *made = make(request, parent, name, S_IFLNK | 0777);
    if (!made)
        return;
    made->link_target = strdup(target);
    struct fuse_entry_param answer = entry_of(made);
    fuse_reply_entry(request, &answer);
}

static void add_name(fuse_req_t request, fuse_ino_t number, fuse_ino_t parent, const char *name)
{
    node *one = node_of(number), *folder = node_of(parent);
    if (find(&folder->live, name)) {
        fuse_reply_err(request, EEXIST);
        return;
    }
    one->names++;
    record_change(&(binding){folder, (char *)name, NULL, one}, 1, NULL);
    struct fuse_entry_param answer = entry_of(one);
    fuse_reply_entry(request, &answer);
}

static void remove_name(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    node *folder = node_of(parent);
    entry *found = find(&folder->live, name);
    if (!found) {
        fuse_reply_err(request, ENOENT);
        return;
    }
    node *one = found->what;
    one->names--;
    record_change(&(binding){folder, (char *)name, one, NULL}, 1, NULL);
    fuse_reply_err(request, 0);
}

static void remove_folder(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    node *folder = node_of(parent);
    entry *found = find(&folder->live, name);
    node *one = found ? found->what : NULL;
    if (!one || !S_ISDIR(one->now.mode) || one->live.count) {
        fuse_reply_err(request, !one ? ENOENT : S_ISDIR(one->now.mode) ? ENOTEMPTY : ENOTDIR);
        return;
    }
    one->names--;
    record_change(&(binding){folder, (char *)name, one, NULL}, 1, one);
    fuse_reply_err(request, 0);
}

static void change_name(fuse_req_t request, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                        const char *new_name, unsigned flags)
{
    node *from = node_of(parent), *to = node_of(new_parent);
    entry *found = find(&from->live, name), *taken = find(&to->live, new_name);
    node *one = found ? found->what : NULL, *other = taken ? taken->what : NULL;
    int problem = !one ? ENOENT
                  : flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE) ? EINVAL
                  : other && flags & RENAME_NOREPLACE ? EEXIST
                  : !other && flags & RENAME_EXCHANGE ? ENOENT
                  : other && other->live.count && !(flags & RENAME_EXCHANGE) ? ENOTEMPTY : 0;
    if (problem || one == other) {
        fuse_reply_err(request, problem);
        return;
    }
    node *back = flags & RENAME_EXCHANGE ? other : NULL;
    if (other && !back)
        other->names--;
    binding both[2] = {{from, (char *)name, one, back}, {to, (char *)new_name, other, one}};
    record_change(both, 2, other && !back && S_ISDIR(other->now.mode) ? other : NULL);
    fuse_reply_err(request, 0);
}

static void open_file(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *file)
{
    node *one = node_of(number);
    if (one->fd < 0) {
        fuse_reply_err(request, ENXIO);
        return;
    }
    int result = file->flags & O_TRUNC ? resize_content(one, 0) : 0;
    file->keep_cache = 1;
    if (result)
        fuse_reply_err(request, -result);
    else
        fuse_reply_open(request, file);
}

static void create_file(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode,
                        struct fuse_file_info *file)
{
    node *made = make(request, parent, name, S_IFREG | (mode & 07777));
    if (!made)
        return;
    struct fuse_entry_param answer = entry_of(made);
    fuse_reply_create(request, &answer, file);
}

static void read_file(fuse_req_t request, fuse_ino_t number, size_t length, off_t offset, struct fuse_file_info *file)
{
    (void)file;
    char *buffer = malloc(length);
    ssize_t count = pread(node_of(number)->fd, buffer, length, offset);
    if (count < 0)
        fuse_reply_err(request, errno);
    else
        fuse_reply_buf(request, buffer, (size_t)count);
    free(buffer);
}

static void write_file(fuse_req_t request, fuse_ino_t number, const char *data, size_t length, off_t offset,
                       struct fuse_file_info *file)
{
    (void)file;
    int result = write_content(node_of(number), offset, data, length);
    if (result)
        fuse_reply_err(request, -result);
    else
        fuse_reply_write(request, length);
}

static void close_one(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *file)
{
    (void)number, (void)file;
    fuse_reply_err(request, 0);
}

static void sync_file(fuse_req_t request, fuse_ino_t number, int data_only, struct fuse_file_info *file)
{
    (void)file;
    node *one = node_of(number);
    world.syncs++;
    if (!world.lies) {
        content_synced(one);
        if (!data_only) {
            one->durable = one->now;
            one->attributes_dirty = false;
        }
        if (world.journal)
            all_names_synced();
    }
    fuse_reply_err(request, 0);
}

static void sync_folder(fuse_req_t request, fuse_ino_t number, int data_only, struct fuse_file_info *file)
{
    (void)data_only, (void)file;
    world.syncs++;
    if (!world.lies) {
        if (world.journal)
            all_names_synced();
        else
            folder_synced(node_of(number));
    }
    fuse_reply_err(request, 0);
}

static void read_folder(fuse_req_t request, fuse_ino_t number, size_t space, off_t offset, struct fuse_file_info *file)
{
    (void)file;
    const node *folder = node_of(number);
    const node *parent = folder->parent ? folder->parent : folder;
    char *buffer = malloc(space);
    size_t used = 0;
    for (size_t at = 0; at < folder->live.count + 2; at++) {
        const entry *one = at < 2 ? NULL : &folder->live.entries[at - 2];
        off_t cookie = one ? one->cookie : (off_t)at + 1;
        if (cookie <= offset)
            continue;
        struct stat status = status_of(one ? one->what : at ? parent : folder);
        const char *name = one ? one->name : at ? ".." : ".";
        size_t needed = fuse_add_direntry(request, buffer + used, space - used, name, &status, cookie);
        if (needed > space - used)
            break;
        used += needed;
    }
    fuse_reply_buf(request, buffer, used);
    free(buffer);
}

static void tell_space(fuse_req_t request, fuse_ino_t number)
{
    (void)number;
    struct statvfs status;
    if (statvfs(world.store, &status))
        fuse_reply_err(request, errno);
    else
        fuse_reply_statfs(request, &status);
}

static struct extra **extra_of(node *one, const char *name)
{
    struct extra **place = &one->extras;
    while (*place && strcmp((*place)->name, name))
        place = &(*place)->next;
    return place;
}

static void set_extra(fuse_req_t request, fuse_ino_t number, const char *name, const char *value, size_t length,
                      int flags)
{
    struct extra **place = extra_of(node_of(number), name);
    if ((*place && flags & XATTR_CREATE) || (!*place && flags & XATTR_REPLACE)) {
        fuse_reply_err(request, *place ? EEXIST : ENODATA);
        return;
    }
    if (!*place) {
        *place = calloc(1, sizeof **place);
        (*place)->name = strdup(name);
    }
    free((*place)->value);
    (*place)->value = malloc(length + 1);
    memcpy((*place)->value, value, length);
    (*place)->length = length;
    fuse_reply_err(request, 0);
}

static void answer_bytes(fuse_req_t request, const char *bytes, size_t length, size_t space)
{
    if (!space)
        fuse_reply_xattr(request, length);
    else if (length > space)
        fuse_reply_err(request, ERANGE);
    else
        fuse_reply_buf(request, bytes, length);
}

static void get_extra(fuse_req_t request, fuse_ino_t number, const char *name, size_t space)
{
    struct extra *found = *extra_of(node_of(number), name);
    if (found)
        answer_bytes(request, found->value, found->length, space);
    else
        fuse_reply_err(request, ENODATA);
}

static void list_extras(fuse_req_t request, fuse_ino_t number, size_t space)
{
    char names[PAGE * 16];
    size_t used = 0;
    for (const struct extra *one = node_of(number)->extras; one; one = one->next)
        if (used + strlen(one->name) + 1 <= sizeof names)
            used += (size_t)sprintf(names + used, "%s", one->name) + 1;
    answer_bytes(request, names, used, space);
}

static void remove_extra(fuse_req_t request, fuse_ino_t number, const char *name)
{
    struct extra **place = extra_of(node_of(number), name), *found = *place;
    if (!found) {
        fuse_reply_err(request, ENODATA);
        return;
    }
    *place = found->next;
    free(found->name);
    free(found->value);
    free(found);
    fuse_reply_err(request, 0);
}

static void allocate(fuse_req_t request, fuse_ino_t number, int mode, off_t offset, off_t length,
                     struct fuse_file_info *file)
{
    (void)file;
    node *one = node_of(number);
    int result = 0;
    if (mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) || mode == (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE))
        result = zero_content(one, offset, length);
    else if (mode == 0 || mode == FALLOC_FL_ZERO_RANGE) {
        result = mode ? zero_content(one, offset, length) : 0;
        if (!result && offset + length > one->size)
            result = resize_content(one, offset + length);
    } else if (mode != FALLOC_FL_KEEP_SIZE)
        result = -EOPNOTSUPP;
    fuse_reply_err(request, -result);
}

static void copy_range(fuse_req_t request, fuse_ino_t number, off_t offset, struct fuse_file_info *file,
                       fuse_ino_t to_number, off_t to_offset, struct fuse_file_info *to_file, size_t length, int flags)
{
    (void)file, (void)to_file, (void)flags;
    length = length < (1u << 20) ? length : 1u << 20;
    char *buffer = malloc(length);
    ssize_t count = pread(node_of(number)->fd, buffer, length, offset);
    int result = count < 0 ? -errno : count ? write_content(node_of(to_number), to_offset, buffer, (size_t)count) : 0;
    free(buffer);
    if (result)
        fuse_reply_err(request, -result);
    else
        fuse_reply_write(request, (size_t)count);
}

static void seek(fuse_req_t request, fuse_ino_t number, off_t offset, int whence, struct fuse_file_info *file)
{
    (void)file;
    off_t found = lseek(node_of(number)->fd, offset, whence);
    if (found < 0)
        fuse_reply_err(request, errno);
    else
        fuse_reply_lseek(request, found);
}

const struct fuse_lowlevel_ops operations = {
    .init = start,
    .lookup = look_up,
    .forget = forget,
    .getattr = get_attributes,
    .setattr = set_attributes,
    .readlink = read_link,
    .mknod = make_node,
    .mkdir = make_folder,
    .symlink = make_link,
    .link = add_name,
    .unlink = remove_name,
    .rmdir = remove_folder,
    .rename = change_name,
    .open = open_file,
    .create = create_file,
    .read = read_file,
    .write = write_file,
    .flush = close_one,
    .release = close_one,
    .fsync = sync_file,
    .fsyncdir = sync_folder,
    .readdir = read_folder,
    .statfs = tell_space,
    .setxattr = set_extra,
    .getxattr = get_extra,
    .listxattr = list_extras,
    .removexattr = remove_extra,
    .fallocate = allocate,
    .copy_file_range = copy_range,
    .lseek = seek,
};
