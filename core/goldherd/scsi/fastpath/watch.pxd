"""Ranges of a unit whose change must be noticed, as the data plane sees them: what ROD tokens stand for (rod.py).

A writer marks first and stores then; a reader for a token reads first and looks at the mark then. So no lock is needed:
a reader that saw anything of the new data sees the mark too. A unit without tokens has no list. Its writes pay one
comparison with NULL, of a pointer beside one that they load anyway.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from goldherd.native.linux cimport load8, store8

cdef extern from * nogil:
    void memory_fence "__atomic_thread_fence"(int)
    int __ATOMIC_SEQ_CST

cdef struct ByteRange:
    uint64_t begin
    uint64_t end            # first byte behind

cdef struct WatchState:
    uint64_t begin          # of the first range in the order of addresses
    uint64_t end            # of the last one
    ByteRange* ranges       # ascending, none over another
    uint32_t count
    uint8_t touched         # atomic; once 1 it stays so

cdef struct Watches:
    uint32_t count
    WatchState** watches    # owned by Watch objects that live as long as this list may be seen

cdef inline void touch_one(WatchState* watch, uint64_t begin, uint64_t end) noexcept nogil:
    cdef uint32_t low = 0
    cdef uint32_t high = watch.count
    cdef uint32_t middle
    if begin >= watch.end or end <= watch.begin or load8(&watch.touched):
        return
    while low < high:                           # the first range that ends behind `begin`
        middle = (low + high) >> 1
        if watch.ranges[middle].end > begin:
            high = middle
        else:
            low = middle + 1
    if watch.ranges[low].begin < end:           # there is one, since begin < watch.end
        store8(&watch.touched, 1)
        memory_fence(__ATOMIC_SEQ_CST)          # the mark is there before the first byte of the data

cdef inline void touch(Watches* watches, uint64_t offset, uint64_t length) noexcept nogil:
    """To be called before a store, in the same step of the reactor that stores or hands the store to the pool."""
    cdef uint32_t i
    if watches == NULL:
        return
    for i in range(watches.count):
        touch_one(watches.watches[i], offset, offset + length)

cdef class Watch:
    cdef WatchState state
