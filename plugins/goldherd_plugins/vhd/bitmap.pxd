"""The sector bitmaps of a differencing disk: which sectors of a block lie in this file.

In memory a block's bits are 64-bit words in host order, sector i of the block at bit 63 - i % 64 of word i / 64:
the order of the file (most significant bit first) read as big endian words. A look-up walks runs, 64 sectors a step.
"""

from libc.stdint cimport int64_t, uint64_t

from goldherd.native.linux cimport load64, or64
from goldherd_plugins.vhd.pending cimport PendingTables
from goldherd_plugins.vhd.tables cimport Dirty

cdef extern from *:
    int clz64 "__builtin_clzll"(unsigned long long) noexcept nogil

cdef enum:
    WORDS_PER_SECTOR = 64       # of a bitmap sector in the file: 4096 bits

cdef class SectorBitmaps:
    cdef uint64_t* words                    # of all blocks, zero where nothing is set; read without a lock
    cdef readonly uint64_t blocks
    cdef readonly uint64_t words_per_block
    cdef readonly uint64_t sectors_per_block    # disk sectors in a block
    cdef readonly uint64_t file_sectors_per_block   # sectors that a block's bitmap takes in the file
    cdef PendingTables pending              # owns the words; None: they are this object's own

    cdef uint64_t* _of(self, uint64_t block) except NULL
    cdef int load(self, int fd, const unsigned int* slots) noexcept nogil
    # Sets the bits that another memory has for allocated blocks too, words at `position` of fd; 0 or -errno. The
    # sectors that change by it go into *dirty unless that is NULL.
    cdef int merge(self, int fd, int64_t position, const unsigned int* slots, Dirty* dirty) noexcept nogil
    cdef void fill_sector(self, uint64_t block, uint64_t sector, char* target) noexcept nogil

cdef inline uint64_t bit_run(const uint64_t* words, uint64_t first, uint64_t end, bint* is_set) noexcept nogil:
    """How many sectors from `first` on, before `end`, have the same bit; that bit in *is_set. first < end."""
    cdef uint64_t index = first >> 6
    cdef uint64_t word = load64(&words[index])
    cdef uint64_t flip
    cdef uint64_t change
    cdef uint64_t place
    is_set[0] = (word >> (63 - (first & 63))) & 1
    flip = <uint64_t>0 - <uint64_t>is_set[0]    # turns "the first other bit" into "the first one"
    change = (word ^ flip) << (first & 63)
    if change:
        place = first + <uint64_t>clz64(change)
        return min(place, end) - first
    place = (index + 1) << 6
    while place < end:
        change = load64(&words[place >> 6]) ^ flip
        if change:
            place += <uint64_t>clz64(change)
            break
        place += 64
    return min(place, end) - first

cdef inline void set_run(uint64_t* words, uint64_t first, uint64_t count) noexcept nogil:
    """Sets the bits [first, first + count)."""
    cdef uint64_t part
    cdef uint64_t mask
    while count:
        part = min(count, 64 - (first & 63))
        mask = (<uint64_t>0xFFFFFFFFFFFFFFFF << (64 - part)) >> (first & 63)
        or64(&words[first >> 6], mask)
        first += part
        count -= part
