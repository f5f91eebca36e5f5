/* System calls that fail on command: a library for LD_PRELOAD, built by tests/support/faulty_calls.py.
 *
 * The file named by FAULTY_CALLS is mapped into every process that loads this. A line of it says which calls, on files
 * whose path contains which text, fail with which errno, after how many good ones, how often, and after how long.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum call { NONE, FDATASYNC, FSYNC, SYNC_FILE_RANGE, PWRITE, FTRUNCATE, FALLOCATE, CLOSE, SETXATTR, PREADV, CALLS };

struct fault {
    int32_t call;       /* which enum call; NONE: nothing fails */
    int32_t number;     /* the errno */
    int32_t good;       /* so many calls succeed before */
    int32_t times;      /* so many fail, then all succeed again */
    int32_t sleep_ms;   /* a call that fails takes so long */
    int32_t hits;       /* how many have failed */
    char path[256];     /* on a file whose path contains this */
    int32_t seen[CALLS];/* how often each call came for such a file, failed or not */
};

static struct fault *fault;

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("FAULTY_CALLS");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    void *place = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *fault, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (place != MAP_FAILED)
        fault = place;
}

/* Whether this call fails; then errno is set. */
static int fails(enum call call, int fd)
{
    char link[64], path[512];
    ssize_t length;
    if (!fault || !fault->path[0])
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    if (!strstr(path, fault->path))
        return 0;
    __atomic_fetch_add(&fault->seen[call], 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&fault->call, __ATOMIC_SEQ_CST) != (int32_t)call)
        return 0;
    if (__atomic_fetch_sub(&fault->good, 1, __ATOMIC_SEQ_CST) > 0)
        return 0;
    if (__atomic_fetch_sub(&fault->times, 1, __ATOMIC_SEQ_CST) <= 0)
        return 0;
    __atomic_fetch_add(&fault->hits, 1, __ATOMIC_SEQ_CST);
    if (fault->sleep_ms) {
        struct timespec wait = {fault->sleep_ms / 1000, fault->sleep_ms % 1000 * 1000000L};
        nanosleep(&wait, NULL);
    }
    errno = fault->number;
    return 1;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int fdatasync(int fd) { REAL(fdatasync); return fails(FDATASYNC, fd) ? -1 : real(fd); }
int fsync(int fd) { REAL(fsync); return fails(FSYNC, fd) ? -1 : real(fd); }
int sync_file_range(int fd, off64_t at, off64_t length, unsigned flags)
{
    REAL(sync_file_range);
    return fails(SYNC_FILE_RANGE, fd) ? -1 : real(fd, at, length, flags);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at)
{
    REAL(pwrite64);
    return fails(PWRITE, fd) ? -1 : real(fd, bytes, length, at);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at)
{
    REAL(pwrite);
    return fails(PWRITE, fd) ? -1 : real(fd, bytes, length, at);
}
int ftruncate(int fd, off_t length) { REAL(ftruncate); return fails(FTRUNCATE, fd) ? -1 : real(fd, length); }
int ftruncate64(int fd, off64_t length) { REAL(ftruncate64); return fails(FTRUNCATE, fd) ? -1 : real(fd, length); }
int fallocate(int fd, int mode, off_t at, off_t length)
{
    REAL(fallocate);
    return fails(FALLOCATE, fd) ? -1 : real(fd, mode, at, length);
}
int fallocate64(int fd, int mode, off64_t at, off64_t length)
{
    REAL(fallocate64);
    return fails(FALLOCATE, fd) ? -1 : real(fd, mode, at, length);
}
int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
    int (*real)(int, const char *, const void *, size_t, int) = dlsym(RTLD_NEXT, "fsetxattr");
    return fails(SETXATTR, fd) ? -1 : real(fd, name, value, size, flags);
}
ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t at)
{
    REAL(preadv64);
    return fails(PREADV, fd) ? -1 : real(fd, parts, count, at);
}
ssize_t preadv64v2(int fd, const struct iovec *parts, int count, off64_t at, int flags)
{
    REAL(preadv64v2);
    return fails(PREADV, fd) ? -1 : real(fd, parts, count, at, flags);
}
int close(int fd)
{
    REAL(close);
    if (fails(CLOSE, fd)) {
        int number = errno;
        real(fd);       /* the descriptor is gone all the same */
        errno = number;
        return -1;
    }
    return real(fd);
}
