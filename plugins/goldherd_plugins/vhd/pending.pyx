"""The tables of an open disk in memory that outlives the process: what a killed daemon had answered is not lost.

A flush brings the block table and the sector bitmaps to the file; between flushes they are newer here. The memory is a
file on a tmpfs (goldherd/files/outliving.py), mapped shared. The bitmaps that readers use lie in it, so setting a bit
costs what it always did. The block table has a second one here, with the blocks that got a place since the opening:
readers look at every entry of the first, and a page of a shared mapping takes room as soon as it is read.

The order that makes a kill at any instruction harmless: the data goes to the file, then the entry and the bits are
stored, then the answer is given. Both are single stores, entries and bits are only ever set, and a flush takes nothing
away: so nothing can be torn, and a new opener lays this over the file's tables, whatever of it they have (left.py).

A page of a tmpfs is had before it is touched, because the kernel ends a process that touches one for which there is no
room. Where there is none, private memory takes its place and the disk goes on; the log says so.
"""

from libc.stdint cimport uint64_t, uintptr_t

from goldherd.native.linux cimport (MADV_POPULATE_WRITE, MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_NORESERVE,
                                    MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE, getpagesize, madvise, mmap, munmap)
from goldherd_plugins.vhd.tables cimport map_zeros, unmap_zeros

from goldherd.files import outliving
from goldherd_plugins.vhd.left import identity_of, size_of, words_at

assert outliving.WRITTEN_AT == 88 and outliving.COUNTS_AT == 96     # repeated in pending.pxd and below


def pending_tables(fd: int, path: str, entries: int, bitmap_words: int, left: object) -> PendingTables | None:
    """Memory for the tables of a disk that is opened for writing; None when there is none to be had.

    Args:
        fd: its file, locked.
        path: for messages.
        entries: of its block table.
        bitmap_words: 64-bit words of all its bitmaps, 0 for a dynamic disk.
        left: what will be taken over from a killed process (left.LeftTables), or None.
    """
    identity = identity_of(fd)
    if identity is None:
        return None
    made = outliving.make(fd, identity, size_of(entries, bitmap_words),
                          since_ns=None if left is None else left.memory.made_ns)
    if made is None:
        return None
    try:
        tables = PendingTables(made, path, entries, bitmap_words)
        if not tables.short:
            return tables
        made.remove(fd)     # before Linux 5.14 no page can be had safely
        return None
    except BaseException:
        made.remove(fd)
        raise
    finally:
        made.close()


cdef class PendingTables:
    """The tables of one open disk; made by pending_tables()."""

    def __init__(self, made: object, path: str, entries: int, bitmap_words: int) -> None:
        cdef void* memory
        cdef int descriptor = made.descriptor
        self.made = made
        self.path = path
        self.length = size_of(entries, bitmap_words)
        self.reserved = <uint8_t*>map_zeros(self._pages())
        memory = mmap(NULL, self.length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        if memory == MAP_FAILED or self.reserved == NULL:
            raise MemoryError
        self.memory = <char*>memory
        self.slots = <uint32_t*>(self.memory + <uint64_t>outliving.HEADER_BYTES)
        self.words = <uint64_t*>(self.memory + <uint64_t>words_at(entries))
        self.reserve(self.memory, outliving.HEADER_BYTES)

    def __dealloc__(self) -> None:
        if self.memory != NULL:
            munmap(self.memory, self.length)
        unmap_zeros(self.reserved, self._pages())

    def publish(self, disk: int) -> None:
        """The tables are complete: other processes find them from here on."""
        self.made.publish(disk)

    def remove(self, disk: int) -> None:
        """Everything is in the file. Call it while the file is locked."""
        self.made.remove(disk)

    cdef uint64_t _pages(self) noexcept nogil:
        return (self.length + <uint64_t>getpagesize() - 1) // <uint64_t>getpagesize()

    cdef bint reserve(self, const void* place, uint64_t length) noexcept nogil:
        cdef uint64_t page_bytes = <uint64_t>getpagesize()
        cdef uint64_t begin = <uintptr_t>place - <uintptr_t>self.memory
        cdef uint64_t page
        for page in range(begin // page_bytes, (begin + length - 1) // page_bytes + 1):
            if not self.reserved[page]:
                if (madvise(self.memory + page * page_bytes, page_bytes, MADV_POPULATE_WRITE)
                        and not self._replace(self.memory + page * page_bytes, page_bytes)):
                    return False
                self.reserved[page] = 1
        return True

    cdef bint _replace(self, char* page, uint64_t page_bytes) noexcept nogil:
        """Private memory in place of a page that the tmpfs has no room for; the page was never touched."""
        cdef void* memory = mmap(page, page_bytes, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0)
        if memory == MAP_FAILED:
            return False
        if not self.short:
            self.short = True
            with gil:
                complain(self.path)
        return True

    cdef void void(self) noexcept nogil:
        store64(<uint64_t*>(self.memory + 96), 0)


cdef void complain(str path):
    """One line for each disk."""
    import structlog
    structlog.get_logger("goldherd.vhd").warning(
        "there is no memory left that outlives the daemon: a kill of it takes writes of the last seconds from a disk",
        path=path)
