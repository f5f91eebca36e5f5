"""Memory for tables of which little is used: zeros that take no room until they are written. Inline only.

A fresh child of a 30 GiB disk has 15,360 blocks and uses none; its tables must not cost a node 60 KiB and more.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from goldherd.native.linux cimport (MAP_ANONYMOUS, MAP_FAILED, MAP_NORESERVE, MAP_PRIVATE, PROT_READ,
                                    PROT_WRITE, mmap, munmap)

cdef inline void* map_zeros(uint64_t length) noexcept nogil:
    """At least one byte of zeros; NULL when there is no room for them."""
    cdef void* memory = mmap(NULL, length + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                             -1, 0)
    return NULL if memory == MAP_FAILED else memory

cdef inline void unmap_zeros(void* memory, uint64_t length) noexcept nogil:
    if memory != NULL:
        munmap(memory, length + 1)

# --- a set of table sectors that the file does not have yet; adding never fails ---

cdef enum:
    DIRTY_LAST = 0xFFFFFFFF     # the end of the list

cdef struct Dirty:
    uint32_t* next      # per sector: 0 not in the set, else the next one's index + 1, or DIRTY_LAST
    uint32_t head       # index + 1 of the first, 0 when the set is empty
    uint64_t count
    uint64_t sectors    # how many there can be

cdef inline int dirty_open(Dirty* dirty, uint64_t sectors) noexcept nogil:
    dirty.head = 0
    dirty.count = 0
    dirty.sectors = sectors
    dirty.next = <uint32_t*>map_zeros(sectors * sizeof(uint32_t))
    return 0 if dirty.next != NULL else -1

cdef inline void dirty_close(Dirty* dirty) noexcept nogil:
    unmap_zeros(dirty.next, dirty.sectors * sizeof(uint32_t))
    dirty.next = NULL

cdef inline void dirty_add(Dirty* dirty, uint64_t sector) noexcept nogil:
    if dirty.next[sector] == 0:
        dirty.next[sector] = dirty.head if dirty.head else <uint32_t>DIRTY_LAST
        dirty.head = <uint32_t>sector + 1
        dirty.count += 1

cdef inline uint64_t dirty_take(Dirty* dirty) noexcept nogil:
    """Removes one sector and gives its index; the set must not be empty."""
    cdef uint64_t sector = dirty.head - 1
    cdef uint32_t following = dirty.next[sector]
    dirty.next[sector] = 0
    dirty.head = 0 if following == <uint32_t>DIRTY_LAST else following
    dirty.count -= 1
    return sector
