"""A byte range of an open file as a disk: raw disks, sparse ones, and the data of a fixed VHD.

Reads come straight out of one shared, read-only mapping of the file, so that a reactor sends page cache without a
copy. A reactor must never wait for a disk in a page fault; so a granule is handed out only while its state byte says
RESIDENT, and a reader of another one asks the storage pool to bring it. Knows no format.
"""

from libc.errno cimport EBADF, EIO, EROFS
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from goldherd.block.fileio cimport file_extent, read_whole, store_flags, write_now, write_whole, zero_range
from goldherd.block.image cimport PLAN_BLOCKING, PLAN_COLD, RUN_FILE, RUN_MEMORY, Run, has_failed
from goldherd.block.pool cimport Job, close_lane, notify, prepare, storage_pool
from goldherd.native.linux cimport (MADV_POPULATE_READ, MAP_FAILED, MAP_SHARED, PROT_READ, close, exchange8,
                                    getpagesize, load8, madvise, mincore, mmap, munmap, pthread_cond_broadcast,
                                    pthread_cond_destroy, pthread_cond_init, pthread_cond_wait,
                                    pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock,
                                    pthread_mutex_unlock, store8)
from goldherd.native.limits cimport GRANULE_BYTES, POPULATE_COPY_BYTES, RESIDENCY_PAGES

import os

from goldherd.errors import raise_for_errno

cdef struct Fetch:
    Job job                 # first, so that a Job* is a Fetch*
    Mapping* mapping        # lives until its `fetching` is 0
    uint64_t granule


# --- the mapping and its fetches ---

cdef Mapping* map_file(int fd, int64_t start, uint64_t size) noexcept:
    """Maps the range, all of it ABSENT; NULL when the file can't be mapped or memory is out."""
    cdef Mapping* mapping = <Mapping*>calloc(1, sizeof(Mapping))
    if mapping == NULL:
        return NULL
    mapping.fd = fd
    mapping.start = start
    mapping.size = size
    mapping.lead = <uint64_t>(start % getpagesize())
    mapping.granules = (size + GRANULE_BYTES - 1) // GRANULE_BYTES
    mapping.states = <uint8_t*>calloc(mapping.granules, 1)
    mapping.memory = <char*>mmap(NULL, mapping.lead + size, PROT_READ, MAP_SHARED, fd, start - <int64_t>mapping.lead)
    mapping.lane = storage_pool().open_lane()
    if mapping.states == NULL or mapping.lane == NULL or <void*>mapping.memory == MAP_FAILED:
        close_lane(mapping.lane)
        if <void*>mapping.memory != MAP_FAILED:
            munmap(mapping.memory, mapping.lead + size)
        free(mapping.states)
        free(mapping)
        return NULL
    pthread_mutex_init(&mapping.mutex, NULL)
    pthread_cond_init(&mapping.idle, NULL)
    return mapping


cdef void unmap_file(Mapping* mapping) noexcept nogil:
    """Waits for the fetches under way, then lets go of the mapping."""
    pthread_mutex_lock(&mapping.mutex)
    while mapping.fetching:
        pthread_cond_wait(&mapping.idle, &mapping.mutex)
    pthread_mutex_unlock(&mapping.mutex)
    munmap(mapping.memory, mapping.lead + mapping.size)
    pthread_mutex_destroy(&mapping.mutex)
    pthread_cond_destroy(&mapping.idle)
    close_lane(mapping.lane)
    free(mapping.states)
    free(mapping)


cdef int populate(Mapping* mapping, uint64_t granule) noexcept nogil:
    """Brings the granule's pages into memory and, where the kernel can, into the page tables; 0 or -errno."""
    cdef char buffer[POPULATE_COPY_BYTES]
    cdef uint64_t offset = granule * GRANULE_BYTES
    cdef uint64_t length = min(<uint64_t>GRANULE_BYTES, mapping.size - offset)
    cdef uint64_t first = (mapping.lead + offset) // <uint64_t>getpagesize() * <uint64_t>getpagesize()
    cdef uint64_t part
    cdef int result
    if madvise(mapping.memory + first, mapping.lead + offset + length - first, MADV_POPULATE_READ) == 0:
        return 0
    # An old kernel, or a page that can't be had. Reading tells the two apart, and touching could kill the process.
    while length:
        part = min(length, <uint64_t>POPULATE_COPY_BYTES)
        result = read_whole(mapping.fd, mapping.start + <int64_t>offset, part, buffer)
        if result:
            return result
        offset += part
        length -= part
    return 0


cdef void fetch_granule(Job* job) noexcept nogil:
    """The storage pool's work for one cold granule."""
    cdef Fetch* fetch = <Fetch*>job
    cdef Mapping* mapping = fetch.mapping
    cdef int result = populate(mapping, fetch.granule)
    store8(&mapping.states[fetch.granule], FAILED if result else RESIDENT)
    notify()
    free(fetch)
    pthread_mutex_lock(&mapping.mutex)
    mapping.fetching -= 1
    if mapping.fetching == 0:
        pthread_cond_broadcast(&mapping.idle)
    pthread_mutex_unlock(&mapping.mutex)


cdef class FileImage(NativeImage):
    """The bytes [start, start + size_bytes) of an open file as a disk.

    Args:
        fd: the open file; belongs to the image once the constructor has returned.
        size_bytes: the size of the disk, a multiple of 512.
        start: where the disk begins in the file.
        read_only: whether writes are refused; the descriptor may then be O_RDONLY.
        path: the file's name, for messages.
        failure: what pending_failure() has found; the disk then takes no writes.
    """

    def __cinit__(self, *args, **kwargs) -> None:
        self.fd = -1

    def __init__(self, int fd, size_bytes: int, *, start: int = 0, read_only: bool = False, path: str = "",
                 failure: object = None) -> None:
        super().__init__(size_bytes, read_only=read_only or failure is not None, path=path)
        if failure is not None:
            self.fail(failure)
        self.start = start
        self.pool = storage_pool()
        self.mapping = map_file(fd, self.start, self.size_bytes)
        self.fd = fd
        self.flags = store_flags(fd)

    def __dealloc__(self) -> None:
        if self.mapping != NULL:
            with nogil:
                unmap_file(self.mapping)
        if self.fd >= 0:
            close(self.fd)

    def close(self) -> None:
        cdef Mapping* mapping = self.mapping
        if self.fd < 0:
            return
        try:
            if not self.read_only:
                self.synchronize()
        finally:
            self.mapping = NULL
            if mapping != NULL:
                with nogil:
                    unmap_file(mapping)
            fd, self.fd = self.fd, -1
            self._close_file(fd)

    def refresh(self) -> int:
        """Marks granules that the kernel has evicted, so that no reactor faults on them; returns how many.

        Failed granules get another chance. Call it from time to time on a thread that may take milliseconds. The
        kernel tells the truth only to the file's owner, to root and to users who may write the file (mincore(2)).
        """
        cdef Mapping* mapping = self.mapping
        cdef uint64_t gone = 0
        cdef int result
        if mapping == NULL:
            return 0
        with nogil:
            result = sweep(mapping, &gone)
        raise_for_errno(result, self.path, "look after the cached pages")
        return gone

    def describe(self) -> dict[str, object]:
        """What people want to know about the file."""
        status = os.fstat(self.fd)
        return {"path": self.path, "size_bytes": self.size_bytes, "file_bytes": status.st_size,
                "allocated_bytes": status.st_blocks * 512, "read_only": bool(self.read_only)}

    # --- the C door ---

    cdef int want(self, uint64_t granule) noexcept nogil:
        """The granule's state after asking for it if it is absent."""
        cdef Mapping* mapping = self.mapping
        cdef Fetch* fetch
        if not exchange8(&mapping.states[granule], ABSENT, FETCHING):
            return load8(&mapping.states[granule])
        fetch = <Fetch*>malloc(sizeof(Fetch))
        if fetch == NULL:
            store8(&mapping.states[granule], ABSENT)
            return FAILED
        prepare(&fetch.job, fetch_granule, 0, 0)
        fetch.mapping = mapping
        fetch.granule = granule
        pthread_mutex_lock(&mapping.mutex)
        mapping.fetching += 1
        pthread_mutex_unlock(&mapping.mutex)
        self.pool.submit(mapping.lane, &fetch.job)
        return FETCHING

    cdef int plan(self, uint64_t offset, uint64_t length, Run* runs, int runs_max) noexcept nogil:
        cdef Mapping* mapping = self.mapping
        cdef uint64_t first = offset // GRANULE_BYTES
        cdef uint64_t last = (offset + length - 1) // GRANULE_BYTES
        cdef uint64_t granule = first
        cdef uint64_t ahead
        cdef int state = RESIDENT
        if mapping == NULL:
            if self.fd < 0:
                return -EBADF
            runs[0].kind = RUN_FILE
            runs[0].fd = self.fd
            runs[0].length = length
            runs[0].position = self.start + <int64_t>offset
            return 1
        while granule <= last:
            state = load8(&mapping.states[granule])
            if state != RESIDENT:
                state = self.want(granule)
                if state != RESIDENT:
                    break
            granule += 1
        if granule <= last:
            for ahead in range(granule + 1, last + 1):
                self.want(ahead)
            if granule == first:
                return PLAN_COLD if state == FETCHING or state == ABSENT else PLAN_BLOCKING
            length = granule * GRANULE_BYTES - offset
        runs[0].kind = RUN_MEMORY
        runs[0].fd = self.fd
        runs[0].position = self.start + <int64_t>offset
        runs[0].length = length
        runs[0].memory = mapping.memory + mapping.lead + offset
        runs[0].pins = NULL
        runs[0].fd = self.fd
        runs[0].position = self.start + <int64_t>offset
        return 1

    cdef int load(self, uint64_t offset, uint64_t length, char* target) noexcept nogil:
        return read_whole(self.fd, self.start + <int64_t>offset, length, target)

    cdef int store(self, uint64_t offset, uint64_t length, const char* source) noexcept nogil:
        if self.read_only or has_failed(self):
            return -EROFS
        return write_whole(self.fd, self.start + <int64_t>offset, length, source)

    cdef int store_now(self, uint64_t offset, uint64_t length, const char* source) noexcept nogil:
        if self.read_only or has_failed(self):
            return -EROFS
        return write_now(self.fd, self.start + <int64_t>offset, length, source)

    cdef int persist(self) noexcept nogil:
        if self.fd < 0:
            return -EBADF
        if has_failed(self):
            return -EIO
        return 0 if self.read_only else self.sync_file(self.fd)

    cdef int erase(self, uint64_t offset, uint64_t length) noexcept nogil:
        cdef uint64_t granule
        cdef int result
        if self.read_only or has_failed(self):
            return -EROFS
        result = zero_range(self.fd, self.start + <int64_t>offset, length)
        # The hole took the pages away: touching them is safe but a fault, so let the pool do that.
        if self.mapping != NULL and length:
            for granule in range(offset // GRANULE_BYTES, (offset + length - 1) // GRANULE_BYTES + 1):
                exchange8(&self.mapping.states[granule], RESIDENT, ABSENT)
        return result

    cdef int64_t extent(self, uint64_t offset, uint64_t length, int* state) noexcept nogil:
        return file_extent(self.fd, self.start + <int64_t>offset, length, state)


cdef int sweep(Mapping* mapping, uint64_t* gone) noexcept nogil:
    """refresh() for all granules; a granule with one page missing counts as gone."""
    cdef uint8_t pages[RESIDENCY_PAGES]
    cdef uint64_t page_bytes = <uint64_t>getpagesize()
    cdef uint64_t step = max(<uint64_t>1, RESIDENCY_PAGES * page_bytes // GRANULE_BYTES - 1)
    cdef uint64_t first = 0
    cdef uint64_t last, granule, base, begin, end, page
    while first < mapping.granules:
        if load8(&mapping.states[first]) != RESIDENT:
            exchange8(&mapping.states[first], FAILED, ABSENT)
            first += 1
            continue
        last = first + 1
        while last < mapping.granules and last < first + step and load8(&mapping.states[last]) == RESIDENT:
            last += 1
        base = (mapping.lead + first * GRANULE_BYTES) // page_bytes
        end = mapping.lead + min(last * GRANULE_BYTES, mapping.size)
        if mincore(mapping.memory + base * page_bytes, end - base * page_bytes, pages):
            return -EIO
        for granule in range(first, last):
            begin = (mapping.lead + granule * GRANULE_BYTES) // page_bytes
            end = mapping.lead + min((granule + 1) * GRANULE_BYTES, mapping.size)
            for page in range(begin, (end + page_bytes - 1) // page_bytes):
                if not pages[page - base] & 1:
                    if exchange8(&mapping.states[granule], RESIDENT, ABSENT):
                        gone[0] += 1
                    break
        first = last
    return 0
