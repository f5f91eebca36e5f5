"""The tables of an open disk in memory that outlives the process."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from goldherd.native.linux cimport coarse_ns, store64

cdef class PendingTables:
    cdef char* memory           # the whole file, mapped shared; never touched where it is not reserved
    cdef uint64_t length
    cdef uint8_t* reserved      # per page: 1 when it has its memory; guarded by the writer's `changes`
    cdef uint32_t* slots        # per block: its place once it has been given one since the opening, else 0
    cdef uint64_t* words        # sector bitmaps: the ones that readers use
    cdef object made            # goldherd.files.outliving.Made
    cdef bint short             # a page could not be had: what it holds does not outlive the process
    cdef str path               # of the disk, for messages

    # Gives [place, place + length) its memory, so that touching it can't fail. Whether it may be touched.
    cdef bint reserve(self, const void* place, uint64_t length) noexcept nogil
    cdef uint64_t _pages(self) noexcept nogil
    cdef bint _replace(self, char* page, uint64_t page_bytes) noexcept nogil
    # The content counts no more, as the disk has failed.
    cdef void void(self) noexcept nogil

cdef inline void stamp(PendingTables pending) noexcept nogil:
    """The disk's file is about to be written to. A store of 8 bytes; call it before the write."""
    if pending is not None:
        store64(<uint64_t*>(pending.memory + 88), coarse_ns())
