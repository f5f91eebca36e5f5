"""The block allocation table in memory, in host order, and its sectors as the file has them."""

from libc.stdint cimport uint32_t, uint64_t

from goldherd_plugins.vhd.tables cimport map_zeros, unmap_zeros

import numpy as np

cdef extern from *:
    uint32_t bswap32 "__builtin_bswap32"(uint32_t) noexcept nogil


cdef class BlockTable:
    """The BAT of one open disk.

    Args:
        bat: the entries in host order, checked (survey.py); 0xFFFFFFFF for a block that is not allocated.
        offset: the table's first byte in the file.
    """

    def __init__(self, bat: object, offset: int) -> None:
        cdef const unsigned int[::1] entries = bat
        cdef const long long[::1] used = np.flatnonzero(bat != 0xFFFFFFFF).astype(np.int64)
        cdef Py_ssize_t i
        self.entries = <uint64_t>entries.shape[0]
        self.offset = offset
        self.slots = <uint32_t*>map_zeros(self.entries * sizeof(uint32_t))
        if self.slots == NULL:
            raise MemoryError
        for i in range(used.shape[0]):
            self.slots[used[i]] = entries[used[i]]
        self.allocated = <uint64_t>used.shape[0]

    def __dealloc__(self) -> None:
        unmap_zeros(self.slots, self.entries * sizeof(uint32_t))

    def place(self, block: int) -> int | None:
        """The block's first byte in the file, or None."""
        if not 0 <= block < self.entries:
            raise IndexError(block)
        return place_of(self.slots, block) or None

    def sector(self, index: int) -> bytes:
        """One sector of the table as the file has it."""
        cdef char target[512]
        self.fill_sector(index, target)
        return target[:512]

    cdef void fill_sector(self, uint64_t sector, char* target) noexcept nogil:
        """128 big endian entries; those behind the table's end are padding, all ones."""
        cdef uint32_t* words = <uint32_t*>target
        cdef uint64_t first = sector * BAT_ENTRIES_PER_SECTOR
        cdef uint64_t i
        cdef uint32_t slot
        for i in range(<uint64_t>BAT_ENTRIES_PER_SECTOR):
            slot = self.slots[first + i] if first + i < self.entries else 0
            words[i] = bswap32(slot) if slot else <uint32_t>0xFFFFFFFF
