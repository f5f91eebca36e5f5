"""Everything that changes the structures of an open dynamic or differencing disk."""

from libc.stdint cimport int64_t, uint64_t

from goldherd.block.image cimport NativeImage
from goldherd.native.linux cimport pthread_mutex_t
from goldherd_plugins.vhd.bat cimport BlockTable
from goldherd_plugins.vhd.bitmap cimport SectorBitmaps
from goldherd_plugins.vhd.pending cimport PendingTables
from goldherd_plugins.vhd.tables cimport Dirty

cdef struct TableSector:
    # A sector of the BAT or of a bitmap as it was at one instant, on its way to the file.
    Dirty* origin       # the set it was taken from
    uint64_t index      # its number there
    int64_t position    # its place in the file
    bint early          # may be written before the first flush
    char bytes[512]

cdef class Writer:
    cdef int fd                     # borrowed from the image
    cdef BlockTable table
    cdef SectorBitmaps bitmaps      # None for a dynamic disk
    cdef PendingTables pending      # None: what is not flushed ends with the process
    cdef uint64_t block_bytes
    cdef uint64_t bitmap_bytes      # of one block in the file
    cdef uint64_t file_bytes        # length of the file, its footer at the end
    cdef char footer[512]
    cdef pthread_mutex_t changes    # guards table, bitmaps (writing), dirty sets and file_bytes; held for µs
    cdef pthread_mutex_t flushing   # one flush at a time; taken before `changes`
    cdef Dirty dirty_bat            # BAT sectors
    cdef Dirty dirty_bitmaps        # bitmap sectors: block * sectors per bitmap + sector

    cdef int allocate(self, uint64_t block) noexcept nogil
    cdef void mark(self, uint64_t block, uint64_t first, uint64_t count) noexcept nogil
    cdef bint mark_now(self, uint64_t block, uint64_t first, uint64_t count) noexcept nogil
    cdef void _mark(self, uint64_t block, uint64_t first, uint64_t count) noexcept nogil
    cdef int flush(self, NativeImage owner) noexcept nogil
    cdef void _add_bitmap(self, uint64_t block) noexcept nogil
    cdef int _grow(self, uint64_t block) noexcept nogil
    cdef bint _reserve(self, uint64_t block) noexcept nogil
    cdef int _snapshot(self, TableSector** sectors, uint64_t* count) noexcept nogil
    cdef void _copy(self, Dirty* origin, TableSector* sector) noexcept nogil
    cdef int _publish(self, NativeImage owner, TableSector* sectors, uint64_t count) noexcept nogil
    cdef void _put_back(self, TableSector* sectors, uint64_t count) noexcept nogil
