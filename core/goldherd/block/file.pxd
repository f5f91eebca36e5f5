"""A byte range of a file as a disk: raw disks, and the data of a fixed VHD."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from goldherd.block.image cimport NativeImage
from goldherd.block.pool cimport Lane, Pool
from goldherd.native.linux cimport pthread_cond_t, pthread_mutex_t

cdef enum Residency:
    # One byte per granule of limits.GRANULE_BYTES; changed by atomic steps only.
    ABSENT = 0          # not known to be in memory
    FETCHING = 1        # a job of the storage pool brings it
    RESIDENT = 2        # its pages are in memory and mapped: a reactor may touch them
    FAILED = 3          # could not be brought; load() tells why

cdef struct Mapping:
    # Apart from the object, so that a pool thread can use it without touching a Python object.
    char* memory            # where the file is mapped, read-only; a page border at or before the disk's byte 0
    uint64_t lead           # bytes from `memory` to the disk's byte 0, less than a page
    uint64_t size           # bytes of the disk
    int fd
    int64_t start           # the disk's byte 0 in the file
    uint8_t* states         # Residency of each granule
    uint64_t granules       # how many
    Lane* lane              # its fetches
    uint64_t fetching       # jobs under way; guarded by `mutex`
    pthread_mutex_t mutex
    pthread_cond_t idle     # fetching became 0

cdef class FileImage(NativeImage):
    cdef readonly int fd    # owned; -1 after close()
    cdef int64_t start      # the disk's byte 0 in the file
    cdef Mapping* mapping   # NULL where the file can't be mapped: then plans name the file
    cdef Pool pool          # the storage pool

    cdef int want(self, uint64_t granule) noexcept nogil
