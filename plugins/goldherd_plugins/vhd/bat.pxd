"""The block allocation table in memory: where each block lies in the file."""

from libc.stdint cimport uint32_t, uint64_t

from goldherd.native.linux cimport load32

cdef enum:
    BAT_ENTRIES_PER_SECTOR = 128

cdef class BlockTable:
    cdef uint32_t* slots            # per block: sector number of its bitmap in the file, 0 when not allocated
                                    # (sector 0 is the footer's copy); read without a lock, changed by the writer
    cdef readonly uint64_t entries
    cdef readonly uint64_t offset   # the table's first byte in the file
    cdef readonly uint64_t allocated    # blocks that have a place

    cdef void fill_sector(self, uint64_t sector, char* target) noexcept nogil

cdef inline uint64_t place_of(const uint32_t* slots, uint64_t block) noexcept nogil:
    """The block's first byte in the file (that of its bitmap); 0 when not allocated."""
    return <uint64_t>load32(&slots[block]) << 9
