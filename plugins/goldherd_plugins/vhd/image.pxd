"""A dynamic or differencing VHD as an image."""

from libc.stdint cimport int64_t, uint64_t

from goldherd.block.image cimport Image, NativeImage
from goldherd_plugins.vhd.bat cimport BlockTable
from goldherd_plugins.vhd.bitmap cimport SectorBitmaps
from goldherd_plugins.vhd.pending cimport PendingTables
from goldherd_plugins.vhd.writer cimport Writer

cdef class VhdImage(NativeImage):
    cdef readonly int fd                # owned; -1 after close()
    cdef BlockTable table
    cdef SectorBitmaps bitmaps          # None for a dynamic disk: what is allocated is all its own
    cdef Writer writer                  # None when read-only
    cdef PendingTables pending          # tables that outlive the process; None when read-only or not to be had
    cdef readonly Image parent          # None for a dynamic disk; shared with others, never written
    cdef uint64_t parent_bytes          # what the parent can answer for; 0 without one
    cdef uint64_t block_bytes
    cdef int block_shift                # log2 of block_bytes
    cdef uint64_t bitmap_bytes          # space of a block's bitmap in the file
    cdef readonly object survey         # what the file said at open (survey.py), its BAT dropped

    cdef uint64_t run_at(self, uint64_t offset, uint64_t end, int64_t* position) noexcept nogil
    cdef int _store(self, uint64_t offset, uint64_t length, const char* source, bint now) noexcept nogil
    cdef int _put(self, uint64_t offset, uint64_t length, const char* source) noexcept nogil
    cdef int _put_now(self, uint64_t offset, uint64_t length, const char* source) noexcept nogil
    cdef bint _owns(self, uint64_t block, uint64_t inside, uint64_t length) noexcept nogil
    cdef bint _reads_zero_below(self, uint64_t offset, uint64_t length) noexcept nogil
