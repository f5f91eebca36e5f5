"""The system calls, locks and atomic steps of Linux that Cython's own declarations lack. Declarations only."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from posix.uio cimport iovec

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_mutex_init(pthread_mutex_t*, void*)
    int pthread_mutex_destroy(pthread_mutex_t*)
    int pthread_mutex_lock(pthread_mutex_t*)
    int pthread_mutex_trylock(pthread_mutex_t*)
    int pthread_mutex_unlock(pthread_mutex_t*)
    int pthread_cond_init(pthread_cond_t*, void*)
    int pthread_cond_destroy(pthread_cond_t*)
    int pthread_cond_wait(pthread_cond_t*, pthread_mutex_t*)
    int pthread_cond_broadcast(pthread_cond_t*)

cdef extern from "<sys/mman.h>" nogil:
    int PROT_READ
    int PROT_WRITE
    int MAP_SHARED
    int MAP_PRIVATE
    int MAP_ANONYMOUS
    int MAP_FIXED
    int MAP_NORESERVE
    void* MAP_FAILED
    void* mmap(void* address, size_t length, int protection, int how, int fd, int64_t offset)
    int munmap(void* address, size_t length)
    int madvise(void* address, size_t length, int advice)
    int mincore(void* address, size_t length, uint8_t* pages)

cdef extern from "<fcntl.h>" nogil:
    int FALLOC_FL_KEEP_SIZE
    int FALLOC_FL_PUNCH_HOLE
    int FALLOC_FL_ZERO_RANGE
    int POSIX_FADV_WILLNEED
    unsigned int SYNC_FILE_RANGE_WAIT_BEFORE
    int fallocate(int fd, int mode, int64_t offset, int64_t length)
    int sync_file_range(int fd, int64_t offset, int64_t length, unsigned int flags)
    int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)

cdef extern from "<sys/uio.h>" nogil:
    int RWF_NOWAIT
    ssize_t preadv2(int fd, const iovec* iov, int count, int64_t offset, int flags)
    ssize_t pwritev2(int fd, const iovec* iov, int count, int64_t offset, int flags)

cdef extern from "<unistd.h>" nogil:
    int SEEK_DATA
    int SEEK_HOLE
    ssize_t pread(int fd, void* target, size_t length, int64_t offset)
    ssize_t pwrite(int fd, const void* source, size_t length, int64_t offset)
    int64_t lseek(int fd, int64_t offset, int whence)
    int ftruncate(int fd, int64_t length)
    int fdatasync(int fd)
    int close(int fd)
    int getpagesize()

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <sys/mman.h>
    #ifndef MADV_POPULATE_READ
    #define MADV_POPULATE_READ 22   /* Linux 5.14; older headers lack the name, older kernels answer EINVAL */
    #endif
    #ifndef MADV_POPULATE_WRITE
    #define MADV_POPULATE_WRITE 23  /* Linux 5.14 */
    #endif
    #include <sys/stat.h>
    #include <sys/vfs.h>
    #include <time.h>
    static inline uint64_t gh_coarse_ns(void) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME_COARSE, &now);     /* a read of memory, no system call (vdso(7)) */
        return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    }
    static inline int gh_writing_of(int fd) {
        struct stat file;
        struct statfs system;
        if (fstat(fd, &file) || !S_ISREG(file.st_mode) || fstatfs(fd, &system))
            return 0;
        switch ((unsigned long)system.f_type) {
            case 0x01021994: return 2;                      /* tmpfs */
            case 0x58465342: case 0x9123683E: return 1;     /* xfs, btrfs */
            default: return 0;
        }
    }
    static inline uint8_t gh_load8(const uint8_t* p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
    static inline void gh_store8(uint8_t* p, uint8_t v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
    static inline int gh_exchange8(uint8_t* p, uint8_t from, uint8_t to) {
        return __atomic_compare_exchange_n(p, &from, to, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    static inline uint32_t gh_load32(const uint32_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void gh_store32(uint32_t* p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline uint64_t gh_load64(const uint64_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void gh_store64(uint64_t* p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline void gh_add32(uint32_t* p, int v) { __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
    static inline void* gh_load_pointer(void* p) { return __atomic_load_n((void**)p, __ATOMIC_ACQUIRE); }
    static inline void gh_store_pointer(void* p, void* v) { __atomic_store_n((void**)p, v, __ATOMIC_RELEASE); }
    static inline void gh_or64(uint64_t* p, uint64_t v) { __atomic_fetch_or(p, v, __ATOMIC_RELEASE); }
    """
    int MADV_POPULATE_READ
    int MADV_POPULATE_WRITE
    uint64_t coarse_ns "gh_coarse_ns"()         # the clock of the times of files, to some ms
    int writing_of "gh_writing_of"(int fd)      # Writing
    uint8_t load8 "gh_load8"(const uint8_t* place)
    void store8 "gh_store8"(uint8_t* place, uint8_t value)
    bint exchange8 "gh_exchange8"(uint8_t* place, uint8_t expected, uint8_t value)
    uint32_t load32 "gh_load32"(const uint32_t* place)          # acquire
    void store32 "gh_store32"(uint32_t* place, uint32_t value)  # release
    uint64_t load64 "gh_load64"(const uint64_t* place)          # acquire
    void store64 "gh_store64"(uint64_t* place, uint64_t value)  # release
    void add32 "gh_add32"(uint32_t* place, int value)
    void* load_pointer "gh_load_pointer"(void* place)           # acquire
    void store_pointer "gh_store_pointer"(void* place, void* value)     # release
    void or64 "gh_or64"(uint64_t* place, uint64_t bits)         # release

cdef enum Writing:
    # what a write(2) of a few KiB to a file does
    WRITING_WAITS = 0       # may wait for a disk: ext4, network file systems, block devices, what is not known
    WRITING_TRIES = 1       # RWF_NOWAIT keeps it from waiting (Linux 6.0)
    WRITING_NEVER_WAITS = 2
