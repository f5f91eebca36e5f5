"""Sealed parents in memory once, whatever the number of readers: state for compiled code.

The arena is one anonymous mapping (huge pages where the system gives them), cut into slots of GRANULE_BYTES.
`place` of a golden image tells for each granule of the disk where it is. A reactor reads it without a lock:

* between the start and the end of a reactor's step its listener carries the epoch of the cache; memory it saw
  resident in that time is not reused before the step has ended;
* what stays in a full socket longer than a step raises the slot's pins.

So the everyday read costs one load of `place` and no atomic operation.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from goldherd.block.image cimport Image, NativeImage
from goldherd.block.pool cimport Lane, Pool

cdef enum:
    PLACE_ABSENT = -1       # only on disk
    PLACE_FETCHING = -2     # a pool thread reads it
    PLACE_ZERO = -3         # nothing but zeros: needs no memory

cdef struct Slot:
    int32_t* home           # the entry of `place` that points here; NULL: free, being filled, or given up
    uint32_t pins           # sends that still read it
    uint8_t referenced      # read since the clock's hand last passed
    uint8_t given_up        # taken from its home, but pinned then: reusable when pins is 0

cdef class GoldenCache:
    cdef void* mapping              # what munmap takes
    cdef char* arena                # the slots, aligned to a huge page
    cdef Slot* slots
    cdef readonly uint32_t slot_count
    cdef uint32_t slots_begun       # slots below were used at some time
    cdef uint32_t* free_slots
    cdef uint32_t free_count
    cdef uint32_t hand
    cdef void* mutex
    cdef readonly uint64_t fetches, evictions
    cdef object images              # weak: every GoldenImage
    cdef int32_t take_slot(self) noexcept nogil     # -1: all are in use
    cdef void free_slot(self, int32_t slot) noexcept nogil

cdef class GoldenImage(NativeImage):
    cdef readonly GoldenCache cache
    cdef readonly Image source
    cdef void* source_borrowed
    cdef Pool pool
    cdef void* pool_borrowed
    cdef Lane* lane                 # its fetches
    cdef int32_t* place             # per granule of the disk: slot, or PLACE_...
    cdef readonly uint32_t granules
    cdef int in_flight              # fetches
    cdef uint32_t since_drop
    cdef int descriptor             # of the file, for advice to the page cache only; -1: none
    cdef void let_go(self) noexcept nogil
    cdef void request(self, uint32_t granule) noexcept nogil
    cdef int fetch(self, uint32_t granule) noexcept nogil
