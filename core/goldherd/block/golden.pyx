"""Sealed parents in memory once, shared by every reader; see golden.pxd for the rules that keep it safe.

A granule that is not in memory is fetched by the storage pool, once, even if hundreds of sessions ask for it in the
same instant: the reactor that changes its place from ABSENT to FETCHING asks, all others wait to be notified. The kernel's own
copy of the file is dropped as the fetches go on, so that the golden image does not stand in memory twice.
"""

import os
import weakref

cimport cython
from libc.errno cimport EROFS
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from goldherd.block.image cimport (
    IMAGE_PYTHON, PLAN_BLOCKING, PLAN_COLD, RUN_MEMORY, RUN_ZERO, Run)
from goldherd.block.pool cimport Job, close_lane, next_epoch, notify, prepare, python_pool, storage_pool, wait_for_epoch
from goldherd.errors import ImageError
from goldherd.native.limits cimport CACHE_FETCHES_PER_DROP, CACHE_SLOTS_MIN, GRANULE_BYTES

cdef extern from * nogil:
    int32_t load_place "__atomic_load_n"(int32_t*, int)
    void store_place "__atomic_store_n"(int32_t*, int32_t, int)
    bint swap_place "__atomic_compare_exchange_n"(int32_t*, int32_t*, int32_t, bint, int, int)
    uint32_t load_pins "__atomic_load_n"(uint32_t*, int)
    uint32_t add_pins "__atomic_add_fetch"(uint32_t*, uint32_t, int)
    int add_int "__atomic_add_fetch"(int*, int, int)
    int load_int "__atomic_load_n"(int*, int)
    int __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void*, size_t, int, int, int, int64_t)
    int munmap(void*, size_t)
    int madvise(void*, size_t, int)
    int PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS, MAP_NORESERVE, MADV_HUGEPAGE
    void* MAP_FAILED

cdef extern from "<fcntl.h>" nogil:
    int posix_fadvise(int, int64_t, int64_t, int)
    int POSIX_FADV_DONTNEED

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_init(pthread_mutex_t*, void*)
    int pthread_mutex_destroy(pthread_mutex_t*)
    int pthread_mutex_lock(pthread_mutex_t*)
    int pthread_mutex_unlock(pthread_mutex_t*)

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int)
    int close_descriptor "close"(int)

cdef enum:
    HUGE_PAGE = 2097152

ctypedef struct Fetch:
    Job job
    void* image                 # GoldenImage; kept alive by in_flight, which close() waits for
    uint32_t granule


cdef class GoldenCache:
    """The memory in which sealed parents live.

    Args:
        budget_bytes: how much may be resident; rounded up to a few granules.
    """

    def __cinit__(self, budget_bytes: int) -> None:
        cdef size_t arena_bytes
        self.slot_count = max(CACHE_SLOTS_MIN, budget_bytes // GRANULE_BYTES)
        arena_bytes = <size_t>self.slot_count * GRANULE_BYTES
        self.slots = <Slot*>calloc(self.slot_count, sizeof(Slot))
        self.free_slots = <uint32_t*>malloc(self.slot_count * sizeof(uint32_t))
        self.mutex = calloc(1, sizeof(pthread_mutex_t))
        self.mapping = mmap(NULL, arena_bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        if self.mapping == MAP_FAILED:
            self.mapping = NULL
        self.arena = <char*>((<size_t>self.mapping + HUGE_PAGE - 1) & ~<size_t>(HUGE_PAGE - 1))
        if self.slots == NULL or self.free_slots == NULL or self.mutex == NULL or self.mapping == NULL:
            raise MemoryError(f"no address space for a cache of {arena_bytes} bytes")
        pthread_mutex_init(<pthread_mutex_t*>self.mutex, NULL)
        madvise(self.arena, arena_bytes, MADV_HUGEPAGE)     # refused on kernels without them: then small pages
        self.images = weakref.WeakSet()

    def __dealloc__(self) -> None:
        if self.mapping != NULL:
            munmap(self.mapping, <size_t>self.slot_count * GRANULE_BYTES + HUGE_PAGE)
        free(self.slots)
        free(self.free_slots)
        if self.mutex != NULL:
            pthread_mutex_destroy(<pthread_mutex_t*>self.mutex)
            free(self.mutex)

    @property
    def budget_bytes(self) -> int:
        return self.slot_count * GRANULE_BYTES

    @property
    def resident_bytes(self) -> int:
        """Bytes of slots in use now."""
        return (self.slots_begun - self.free_count) * GRANULE_BYTES

    cdef void free_slot(self, int32_t slot) noexcept nogil:
        pthread_mutex_lock(<pthread_mutex_t*>self.mutex)
        self.slots[slot].home = NULL
        self.free_slots[self.free_count] = slot
        self.free_count += 1
        pthread_mutex_unlock(<pthread_mutex_t*>self.mutex)

    cdef int32_t take_slot(self) noexcept nogil:
        cdef int32_t slot = -1
        cdef Slot* here
        cdef uint32_t steps = 0
        pthread_mutex_lock(<pthread_mutex_t*>self.mutex)
        if self.free_count:
            self.free_count -= 1
            slot = self.free_slots[self.free_count]
        elif self.slots_begun < self.slot_count:
            slot = self.slots_begun
            self.slots_begun += 1
        else:
            while steps < 2 * self.slot_count + 1:
                steps += 1
                here = &self.slots[self.hand]
                if here.given_up and load_pins(&here.pins, __ATOMIC_SEQ_CST) == 0:
                    here.given_up = False
                    slot = self.hand
                elif here.home != NULL and here.referenced:
                    here.referenced = False
                elif here.home != NULL and load_pins(&here.pins, __ATOMIC_SEQ_CST) == 0:
                    store_place(here.home, PLACE_ABSENT, __ATOMIC_SEQ_CST)
                    here.home = NULL
                    self.evictions += 1
                    # A reactor that saw it resident is inside a step; when all those have ended, only pins still count.
                    wait_for_epoch(next_epoch())
                    if load_pins(&here.pins, __ATOMIC_SEQ_CST) == 0:
                        slot = self.hand
                    else:
                        here.given_up = True
                self.hand = self.hand + 1 if self.hand + 1 < self.slot_count else 0
                if slot >= 0:
                    break
        pthread_mutex_unlock(<pthread_mutex_t*>self.mutex)
        return slot

    def adopt(self, Image source not None) -> GoldenImage:
        """A view of a sealed, read-only image through this cache."""
        image = GoldenImage(self, source)
        self.images.add(image)
        return image

    def describe(self) -> dict:
        """Figures for `status`: budget, residence, fetches, evictions, and what each image holds."""
        return {
            "budget_bytes": self.budget_bytes,
            "resident_bytes": self.resident_bytes,
            "fetches": self.fetches,
            "evictions": self.evictions,
            "images": [{"path": image.path, "size_bytes": image.size_bytes, "resident_bytes": image.resident_bytes}
                       for image in list(self.images)],
        }


cdef void run_fetch(Job* job) noexcept nogil:
    cdef Fetch* fetch = <Fetch*>job
    cdef void* image = fetch.image
    (<GoldenImage>image).fetch(fetch.granule)
    free(fetch)
    notify()
    add_int(&(<GoldenImage>image).in_flight, -1, __ATOMIC_SEQ_CST)


@cython.no_gc_clear     # its end needs the cache, which a collector that finds both in a circle would take away first
cdef class GoldenImage(NativeImage):
    """A sealed image whose sectors are read from the golden cache."""

    def __init__(self, GoldenCache cache not None, Image source not None) -> None:
        if not source.read_only:
            raise ImageError(f"{source.path} is open for writing; only a sealed image can be cached.", path=source.path)
        super().__init__(source.size_bytes, read_only=True, path=source.path)
        self.cache = cache
        self.source = source
        self.source_borrowed = <void*>source
        self.pool = python_pool() if source.flags & IMAGE_PYTHON else storage_pool()
        self.pool_borrowed = <void*>self.pool
        self.lane = self.pool.open_lane()
        self.granules = (source.size_bytes + GRANULE_BYTES - 1) // GRANULE_BYTES
        self.place = <int32_t*>malloc(self.granules * sizeof(int32_t))
        if self.place == NULL or self.lane == NULL:
            raise MemoryError
        memset(self.place, 0xFF, self.granules * sizeof(int32_t))       # PLACE_ABSENT everywhere
        try:
            self.descriptor = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self.descriptor = -1        # not a file of its own: nothing to advise about

    def __cinit__(self, *args: object, **kwargs: object) -> None:
        self.descriptor = -1

    def __dealloc__(self) -> None:
        with nogil:                     # a fetch from a Python source needs the GIL to end
            self.let_go()
        close_lane(self.lane)

    def close(self) -> None:
        """Gives its memory back; no read may follow. The source is closed with it."""
        with nogil:
            self.let_go()
        self.source.close()

    @property
    def resident_bytes(self) -> int:
        cdef uint32_t i
        cdef uint64_t count = 0
        with nogil:
            pthread_mutex_lock(<pthread_mutex_t*>self.cache.mutex)      # close() may be at work on another thread
            if self.place != NULL:
                for i in range(self.granules):
                    count += self.place[i] >= 0
            pthread_mutex_unlock(<pthread_mutex_t*>self.cache.mutex)
        return count * GRANULE_BYTES

    cdef void let_go(self) noexcept nogil:
        cdef uint32_t i
        cdef int32_t slot
        cdef Slot* here
        cdef int32_t* place
        if self.place == NULL:
            return
        while load_int(&self.in_flight, __ATOMIC_SEQ_CST):
            usleep(1000)
        pthread_mutex_lock(<pthread_mutex_t*>self.cache.mutex)
        for i in range(self.granules):
            slot = self.place[i]
            if slot < 0:
                continue
            here = &self.cache.slots[slot]
            here.home = NULL
            here.referenced = False
            if load_pins(&here.pins, __ATOMIC_SEQ_CST):
                here.given_up = True    # a send still reads it: reusable when that has ended
            else:
                self.cache.free_slots[self.cache.free_count] = slot
                self.cache.free_count += 1
        place = self.place
        self.place = NULL
        pthread_mutex_unlock(<pthread_mutex_t*>self.cache.mutex)
        free(place)
        if self.descriptor >= 0:
            close_descriptor(self.descriptor)
            self.descriptor = -1

    cdef void request(self, uint32_t granule) noexcept nogil:
        """Has the granule fetched, unless another reader has asked for it."""
        cdef int32_t absent = PLACE_ABSENT
        cdef Fetch* fetch
        if not swap_place(&self.place[granule], &absent, PLACE_FETCHING, False, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST):
            return
        fetch = <Fetch*>malloc(sizeof(Fetch))
        if fetch == NULL:
            store_place(&self.place[granule], PLACE_ABSENT, __ATOMIC_SEQ_CST)
            return
        prepare(&fetch.job, run_fetch, 0, 0)
        fetch.image = <void*>self
        fetch.granule = granule
        add_int(&self.in_flight, 1, __ATOMIC_SEQ_CST)
        (<Pool>self.pool_borrowed).submit(self.lane, &fetch.job)

    cdef int fetch(self, uint32_t granule) noexcept nogil:
        """Reads a granule that is FETCHING into a slot; on any failure it is ABSENT again and load() tells why."""
        cdef uint64_t offset = <uint64_t>granule * GRANULE_BYTES
        cdef uint64_t length = self.size_bytes - offset if self.size_bytes - offset < GRANULE_BYTES else GRANULE_BYTES
        cdef int32_t slot = self.cache.take_slot()
        cdef char* memory
        cdef int result
        cdef bint drop
        if slot < 0:
            store_place(&self.place[granule], PLACE_ABSENT, __ATOMIC_SEQ_CST)
            return -1
        memory = self.cache.arena + <uint64_t>slot * GRANULE_BYTES
        result = (<Image>self.source_borrowed).load(offset, length, memory)
        if result < 0:
            self.cache.free_slot(slot)
            store_place(&self.place[granule], PLACE_ABSENT, __ATOMIC_SEQ_CST)
            return result
        pthread_mutex_lock(<pthread_mutex_t*>self.cache.mutex)
        self.cache.fetches += 1
        self.since_drop += 1
        drop = self.since_drop >= CACHE_FETCHES_PER_DROP
        if drop:
            self.since_drop = 0
        pthread_mutex_unlock(<pthread_mutex_t*>self.cache.mutex)
        if drop and self.descriptor >= 0:
            posix_fadvise(self.descriptor, 0, 0, POSIX_FADV_DONTNEED)
        if memory[0] == 0 and memcmp(memory, memory + 1, length - 1) == 0:
            self.cache.free_slot(slot)
            store_place(&self.place[granule], PLACE_ZERO, __ATOMIC_SEQ_CST)
            return 0
        pthread_mutex_lock(<pthread_mutex_t*>self.cache.mutex)
        self.cache.slots[slot].referenced = True
        store_place(&self.place[granule], slot, __ATOMIC_SEQ_CST)
        self.cache.slots[slot].home = &self.place[granule]
        pthread_mutex_unlock(<pthread_mutex_t*>self.cache.mutex)
        return 0

    cdef int plan(self, uint64_t offset, uint64_t length, Run* runs, int runs_max) noexcept nogil:
        cdef int count = 0
        cdef uint32_t granule
        cdef uint32_t last
        cdef uint64_t within
        cdef uint64_t part
        cdef int32_t place
        cdef Run* run
        while length and count < runs_max:
            granule = <uint32_t>(offset / GRANULE_BYTES)
            within = offset % GRANULE_BYTES
            part = GRANULE_BYTES - within
            if part > length:
                part = length
            place = load_place(&self.place[granule], __ATOMIC_ACQUIRE)
            run = &runs[count]
            if place >= 0:
                run.kind = RUN_MEMORY
                run.memory = self.cache.arena + <uint64_t>place * GRANULE_BYTES + within
                run.pins = &self.cache.slots[place].pins
                run.fd = -1
                if not self.cache.slots[place].referenced:      # only the first reader of a round writes here
                    self.cache.slots[place].referenced = True
            elif place == PLACE_ZERO:
                run.kind = RUN_ZERO
            else:
                last = <uint32_t>((offset + length - 1) / GRANULE_BYTES)
                while granule <= last:      # all that this range will need, so that the fetches overlap
                    if load_place(&self.place[granule], __ATOMIC_ACQUIRE) == PLACE_ABSENT:
                        self.request(granule)
                    granule += 1
                return count if count else PLAN_COLD
            run.length = part
            count += 1
            offset += part
            length -= part
        return count

    cdef int load(self, uint64_t offset, uint64_t length, char* target) noexcept nogil:
        cdef uint32_t granule
        cdef uint64_t within
        cdef uint64_t part
        cdef int32_t place
        cdef uint32_t* pins
        cdef int result
        while length:
            granule = <uint32_t>(offset / GRANULE_BYTES)
            within = offset % GRANULE_BYTES
            part = GRANULE_BYTES - within
            if part > length:
                part = length
            place = load_place(&self.place[granule], __ATOMIC_SEQ_CST)
            if place >= 0:
                # Not a reactor, so no epoch: pin first, then look whether it is still the same granule.
                pins = &self.cache.slots[place].pins
                add_pins(pins, 1, __ATOMIC_SEQ_CST)
                if load_place(&self.place[granule], __ATOMIC_SEQ_CST) == place:
                    memcpy(target, self.cache.arena + <uint64_t>place * GRANULE_BYTES + within, part)
                    result = 0
                else:
                    result = 1
                add_pins(pins, <uint32_t>-1, __ATOMIC_SEQ_CST)
                if result:
                    continue
            elif place == PLACE_ZERO:
                memset(target, 0, part)
            else:
                result = (<Image>self.source_borrowed).load(offset, part, target)
                if result < 0:
                    return result
            offset += part
            length -= part
            target += part
        return 0

    cdef int store(self, uint64_t offset, uint64_t length, const char* source) noexcept nogil:
        return -EROFS

    cdef int persist(self) noexcept nogil:
        return 0

    cdef int erase(self, uint64_t offset, uint64_t length) noexcept nogil:
        return -EROFS

    cdef int64_t extent(self, uint64_t offset, uint64_t length, int* state) noexcept nogil:
        return (<Image>self.source_borrowed).extent(offset, length, state)

    def __getattr__(self, name: str) -> object:
        """What the sealed image says of itself (its uuid, its kind) is true for the view too."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.source, name)
