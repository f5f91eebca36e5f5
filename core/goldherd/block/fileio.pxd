"""Whole transfers on a file descriptor, without the GIL: all of the range or an errno below zero. Inline only."""

from libc.errno cimport EAGAIN, EINTR, EIO, EOPNOTSUPP, ENXIO, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t

from posix.uio cimport iovec

from goldherd.block.image cimport EXTENT_HOLE, EXTENT_MAPPED, IMAGE_STORE_BLOCKS, IMAGE_STORE_NOW
from goldherd.native.limits cimport ZERO_PAGE_BYTES, require
from goldherd.native.linux cimport (FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE, RWF_NOWAIT,
                                    SEEK_DATA, SEEK_HOLE, WRITING_NEVER_WAITS, WRITING_TRIES, fallocate, lseek, pread,
                                    preadv2, pwrite, pwritev2, writing_of)

cdef extern from * nogil:
    """
    static const char gh_zero_page[65536];
    """
    const char[65536] zero_page "gh_zero_page"

cdef inline int read_whole(int fd, int64_t position, uint64_t length, char* target) noexcept nogil:
    """Reads length bytes; -EIO when the file ends before."""
    cdef ssize_t count
    while length:
        count = pread(fd, target, length, position)
        if count < 0:
            if errno == EINTR:
                continue
            return -errno
        if count == 0:
            return -EIO
        target += count
        position += count
        length -= <uint64_t>count
    return 0

cdef inline int write_whole(int fd, int64_t position, uint64_t length, const char* source) noexcept nogil:
    """Writes length bytes; on an error a part of them may be there."""
    cdef ssize_t count
    while length:
        count = pwrite(fd, source, length, position)
        if count < 0:
            if errno == EINTR:
                continue
            return -errno
        source += count
        position += count
        length -= <uint64_t>count
    return 0

cdef inline ssize_t read_now(int fd, int64_t position, uint64_t length, char* target) noexcept nogil:
    """Reads what is in memory of a range, without waiting for a disk: the bytes read, or below 1 when that is none."""
    cdef iovec piece
    cdef ssize_t got
    piece.iov_base = target
    piece.iov_len = length
    got = preadv2(fd, &piece, 1, position, RWF_NOWAIT)
    if got < 0 and errno == EOPNOTSUPP and writing_of(fd) == WRITING_NEVER_WAITS:
        got = pread(fd, target, length, position)
    return got

cdef inline int write_now(int fd, int64_t position, uint64_t length, const char* source) noexcept nogil:
    """Writes length bytes without waiting for a disk; -EAGAIN when that can't be, and a part of them may be there."""
    cdef iovec piece
    piece.iov_base = <void*>source
    piece.iov_len = length
    return 0 if pwritev2(fd, &piece, 1, position, RWF_NOWAIT) == <ssize_t>length else -EAGAIN

cdef inline uint32_t store_flags(int fd) noexcept nogil:
    """The IMAGE_STORE_ flags of an image whose writes go to this file."""
    cdef int writing = writing_of(fd)
    if writing == WRITING_NEVER_WAITS:
        return 0
    return IMAGE_STORE_BLOCKS | IMAGE_STORE_NOW if writing == WRITING_TRIES else IMAGE_STORE_BLOCKS

cdef inline int zero_range(int fd, int64_t position, uint64_t length) noexcept nogil:
    """The range reads as zeros afterwards: as a hole where the file system can, else by writing.

    On a block device PUNCH_HOLE zeroes too (fallocate(2) on a device never merely discards), so one way serves both.
    """
    cdef uint64_t part
    cdef int result
    require(sizeof(zero_page) == ZERO_PAGE_BYTES)
    if fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, position, length) == 0:
        return 0
    if fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, position, length) == 0:
        return 0
    while length:
        part = length if length < ZERO_PAGE_BYTES else ZERO_PAGE_BYTES
        result = write_whole(fd, position, part, zero_page)
        if result:
            return result
        position += <int64_t>part
        length -= part
    return 0

cdef inline int64_t file_extent(int fd, int64_t position, uint64_t length, int* state) noexcept nogil:
    """Length of the hole or of the data at position, at most length; in whole sectors, all data if it can't tell."""
    cdef int64_t end = position + <int64_t>length
    cdef int64_t edge = lseek(fd, position, SEEK_DATA)
    state[0] = EXTENT_MAPPED
    if edge == position:
        edge = lseek(fd, position, SEEK_HOLE)
        if edge < 0 or edge > end:
            return length
        # Part of a sector is data: then all of it is.
        edge = position + ((edge - position + 511) & ~<int64_t>511)
        return min(edge, end) - position
    if edge < 0:
        if errno != ENXIO:    # nothing but a hole up to the end of the file
            return length
        edge = end
    edge = position + ((min(edge, end) - position) & ~<int64_t>511)
    if edge == position:
        return min(<int64_t>512, <int64_t>length)
    state[0] = EXTENT_HOLE
    return edge - position
