/* Bytes of files. The file in the store holds what programs see. Beside it stand the mutations since the last sync,
 * oldest first, and of each page that they touched what it held on the disk (its shadow).
 */
#include "faultfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PENDING_BYTES_MAX (96u << 20) /* of one file; then the oldest data is written back, as a kernel would */

int open_content(node *file, const char *existing)
{
    char path[PAGE];
    snprintf(path, sizeof path, "%s/%llu", world.store, (unsigned long long)file->number);
    if (existing && link(existing, path))
        return -errno;
    file->fd = open(path, O_RDWR | O_CLOEXEC | (existing ? 0 : O_CREAT | O_EXCL), 0600);
    if (file->fd < 0)
        return -errno;
    file->size = file->durable_size = lseek(file->fd, 0, SEEK_END);
    return 0;
}

static size_t slot_of(const node *file, off_t page)
{
    size_t at = (size_t)page * 0x9E3779B97F4A7C15ull >> 20 & (file->shadow_space - 1);
    while (file->shadows[at].held && file->shadows[at].page != page)
        at = (at + 1) & (file->shadow_space - 1);
    return at;
}

shadow *shadow_of(node *file, off_t page)
{
    if (!file->shadow_count)
        return NULL;
    shadow *found = &file->shadows[slot_of(file, page)];
    return found->held ? found : NULL;
}

static void make_room(node *file)
{
    if (file->shadow_count * 2 < file->shadow_space)
        return;
    shadow *old = file->shadows;
    size_t count = file->shadow_space;
    file->shadow_space = count ? count * 2 : 64;
    file->shadows = calloc(file->shadow_space, sizeof *file->shadows);
    for (size_t at = 0; at < count; at++)
        if (old[at].held)
            file->shadows[slot_of(file, old[at].page)] = old[at];
    free(old);
}

/* Keeps what the pages of a range hold on the disk; holes hold zeros, and a range that is zeroed needs none of them. */
static int keep(node *file, off_t start, off_t end, bool holes)
{
    for (off_t at = start / PAGE * PAGE; at < end; at += PAGE) {
        if (!holes) {
            off_t data = lseek(file->fd, at, SEEK_DATA);
            if (data < 0 || data >= end)
                break;
            at = data / PAGE * PAGE > at ? data / PAGE * PAGE : at;
        }
        if (shadow_of(file, at / PAGE))
            continue;
        make_room(file);
        char *held = calloc(1, PAGE);
        if (pread(file->fd, held, PAGE, at) < 0) {
            free(held);
            return -errno;
        }
        file->shadows[slot_of(file, at / PAGE)] = (shadow){at / PAGE, held};
        file->shadow_count++;
    }
    return 0;
}

static void record(node *file, mutation one)
{
    if (file->mutation_count == file->mutation_space) {
        file->mutation_space = file->mutation_space ? file->mutation_space * 2 : 16;
        file->mutations = realloc(file->mutations, file->mutation_space * sizeof *file->mutations);
    }
    file->mutations[file->mutation_count++] = one;
    file->pending_bytes += one.length;
}

static void touch(node *file)
{
    clock_gettime(CLOCK_REALTIME, &file->now.mtime);
    file->ctime = file->now.mtime;
    file->attributes_dirty = true;
}

static void drop_shadows(node *file)
{
    for (size_t at = 0; at < file->shadow_space; at++)
        free(file->shadows[at].held);
    free(file->shadows);
    file->shadows = NULL;
    file->shadow_count = file->shadow_space = 0;
}

static void drop_mutations(node *file)
{
    for (size_t at = 0; at < file->mutation_count; at++)
        free(file->mutations[at].data);
    file->mutation_count = file->pending_bytes = 0;
}

static void extend(node *file, off_t size)
{
    if (size > file->size) {
        record(file, (mutation){EXTENDED, 0, 0, NULL, size});
        file->size = size;
    }
}

int write_content(node *file, off_t offset, const char *data, size_t length)
{
    int result = keep(file, offset, offset + (off_t)length, true);
    if (result)
        return result;
    if (pwrite(file->fd, data, length, offset) != (ssize_t)length)
        return errno ? -errno : -EIO;
    char *copy = malloc(length);
    memcpy(copy, data, length);
    record(file, (mutation){WRITTEN, offset, length, copy, 0});
    extend(file, offset + (off_t)length);
    touch(file);
    if (file->pending_bytes > PENDING_BYTES_MAX)
        content_synced(file);
    return 0;
}

int zero_content(node *file, off_t offset, off_t length)
{
    off_t end = offset + length < file->size ? offset + length : file->size;
    if (end <= offset)
        return 0;
    int result = keep(file, offset, end, false);
    if (result)
        return result;
    if (fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, end - offset))
        return -errno;
    record(file, (mutation){ZEROED, offset, (size_t)(end - offset), NULL, 0});
    file->pending_bytes -= (size_t)(end - offset);
    touch(file);
    return 0;
}

int resize_content(node *file, off_t size)
{
    int result = size < file->size ? keep(file, size, file->size, false) : 0;
    if (result)
        return result;
    if (ftruncate(file->fd, size))
        return -errno;
    if (size < file->size) {
        record(file, (mutation){SHORTENED, 0, 0, NULL, size});
        file->size = size;
    }
    extend(file, size);
    touch(file);
    return 0;
}

void content_synced(node *file)
{
    drop_shadows(file);
    drop_mutations(file);
    file->durable_size = file->size;
}

/* As Linux does when a write-back fails: the disk keeps the old bytes, and the pages in memory count as clean. */
void lose_content(node *file)
{
    for (size_t at = 0; at < file->shadow_space; at++) {
        off_t start = file->shadows[at].page * PAGE;
        if (file->shadows[at].held && start < file->size) {
            size_t length = file->size - start < PAGE ? (size_t)(file->size - start) : PAGE;
            if (pwrite(file->fd, file->shadows[at].held, length, start) < 0)
                perror("faultfs: bytes that are to be lost");
        }
    }
    content_synced(file);
}

void forget_content(node *file)
{
    char path[PAGE];
    snprintf(path, sizeof path, "%s/%llu", world.store, (unsigned long long)file->number);
    unlink(path);
    close(file->fd);
    file->fd = -1;
    drop_shadows(file);
    drop_mutations(file);
    free(file->mutations);
    file->mutations = NULL;
    file->mutation_space = 0;
}
