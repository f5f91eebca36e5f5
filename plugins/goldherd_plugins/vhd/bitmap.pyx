"""The sector bitmaps of a differencing disk in memory: loading them, and their sectors as the file has them."""

from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc

from goldherd.block.fileio cimport read_whole
from goldherd.native.linux cimport POSIX_FADV_WILLNEED, posix_fadvise
from goldherd.native.endian cimport put64
from goldherd_plugins.vhd.tables cimport dirty_add, map_zeros, unmap_zeros

cdef extern from *:
    uint64_t bswap64 "__builtin_bswap64"(uint64_t) noexcept nogil


def bitmap_words(blocks: int, block_bytes: int) -> int:
    """The 64-bit words of all bitmaps of a disk."""
    return blocks * ((block_bytes // 512 + 63) // 64)


cdef class SectorBitmaps:
    """The sector bitmaps of one open differencing disk, all clear at first.

    Args:
        blocks: entries of the block table.
        block_bytes: bytes of data in a block.
        pending: the memory that holds the bits, of bitmap_words() words; None: private memory.
    """

    def __init__(self, blocks: int, block_bytes: int, PendingTables pending = None) -> None:
        self.blocks = blocks
        self.sectors_per_block = block_bytes // 512
        self.words_per_block = (self.sectors_per_block + 63) // 64
        self.file_sectors_per_block = (self.words_per_block + WORDS_PER_SECTOR - 1) // WORDS_PER_SECTOR
        self.pending = pending
        self.words = pending.words if pending is not None else <uint64_t*>map_zeros(self.blocks * self.words_per_block * 8)
        if self.words == NULL:
            raise MemoryError

    def __dealloc__(self) -> None:
        if self.pending is None:
            unmap_zeros(self.words, self.blocks * self.words_per_block * 8)

    def run(self, block: int, first: int, end: int) -> tuple[int, bool]:
        """(sectors from first on, before end, with the same bit; that bit)."""
        cdef bint is_set = False
        count = bit_run(self._of(block), first, end, &is_set)
        return count, is_set

    def set(self, block: int, first: int, count: int) -> None:
        """Sets the bits of count sectors from first on."""
        set_run(self._of(block), first, count)

    def sector(self, block: int, index: int) -> bytes:
        """One sector of a block's bitmap as the file has it."""
        cdef char target[512]
        self.fill_sector(block, index, target)
        return target[:512]

    cdef uint64_t* _of(self, uint64_t block) except NULL:
        if block >= self.blocks:
            raise IndexError(block)
        return self.words + block * self.words_per_block

    cdef int load(self, int fd, const unsigned int* slots) noexcept nogil:
        """Reads the bitmaps of all allocated blocks; 0 or -errno."""
        cdef uint64_t* words = self.words
        cdef uint64_t block, i
        cdef int result
        for block in range(self.blocks):        # lets a disk fetch them in an order of its own
            if slots[block]:
                posix_fadvise(fd, <int64_t>slots[block] << 9, <int64_t>self.words_per_block * 8, POSIX_FADV_WILLNEED)
        for block in range(self.blocks):
            if slots[block]:
                words = self.words + block * self.words_per_block
                if self.pending is not None and not self.pending.reserve(words, self.words_per_block * 8):
                    return -ENOMEM
                result = read_whole(fd, <int64_t>slots[block] << 9, self.words_per_block * 8, <char*>words)
                if result:
                    return result
                for i in range(self.words_per_block):
                    words[i] = bswap64(words[i])
        return 0

    cdef int merge(self, int fd, int64_t position, const unsigned int* slots, Dirty* dirty) noexcept nogil:
        cdef uint64_t length = self.words_per_block * 8
        cdef uint64_t* theirs = <uint64_t*>malloc(length)
        cdef uint64_t* words = self.words
        cdef uint64_t block, i
        cdef int result = 0
        if theirs == NULL:
            return -ENOMEM
        for block in range(self.blocks):
            if slots[block]:
                words = self.words + block * self.words_per_block
                result = read_whole(fd, position + <int64_t>(block * length), length, <char*>theirs)
                if result:
                    break
                for i in range(self.words_per_block):
                    if theirs[i] & ~words[i]:
                        words[i] |= theirs[i]
                        if dirty != NULL:
                            dirty_add(dirty, block * self.file_sectors_per_block + i // WORDS_PER_SECTOR)
        free(theirs)
        return result

    cdef void fill_sector(self, uint64_t block, uint64_t sector, char* target) noexcept nogil:
        cdef uint64_t* words = self.words + block * self.words_per_block
        cdef uint64_t first = sector * WORDS_PER_SECTOR
        cdef uint64_t i
        for i in range(<uint64_t>WORDS_PER_SECTOR):
            put64(target + 8 * i, words[first + i] if first + i < self.words_per_block else 0)  # at any alignment
