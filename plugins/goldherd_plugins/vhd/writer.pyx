"""Allocation and flush of a dynamic or differencing disk, so that a cut at any instant leaves a disk that opens.

What may be lost at a power cut is only what was written after the last flush. The order that keeps it so:

1. A new block lies behind the old end of the file, so it is a hole and reads as zeros (for a differencing disk that
   includes its bitmap: nothing set). The file first grows over it and gets a footer at its new end; the old footer
   stays behind in the gap before the block. Its bitmap is written as zeros, so that a flush needs no space. Nothing refers to the block yet. If the disk is full here, the file
   shrinks back and nothing has happened. The copy of the footer at 0 never changes.
2. Data goes to its place; then its bits are set, and the BAT is changed, in memory only.
3. A flush takes a snapshot of the changed table sectors, fdatasyncs (now data, blocks and footer that the snapshot
   speaks of are durable), writes the snapshot, and fdatasyncs again. A BAT entry without bits shows the parent, bits
   without a BAT entry are unreachable: the two kinds need no order between them.
4. The bitmap of a dynamic disk is all ones for other programs; it lies in a block that nothing refers to yet, so it
   goes out before the first fdatasync.

5. A kill of the process alone loses nothing that was answered: entry and bits are stored in memory that outlives it
   (pending.pyx), after the data's pwrite and before the answer.
6. A flush whose first fdatasync fails has published nothing, and no later one does: the image has failed then
   (block/image.pyx: sync_file), and the tables in the file speak of nothing but the data of the last good flush. What the memory says then counts no more.

Bits set and blocks allocated while a flush is under way are not in its snapshot and wait for the next one.
"""

from libc.errno cimport EDQUOT, ENOMEM, ENOSPC, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from goldherd.block.fileio cimport write_whole
from goldherd.block.image cimport NativeImage
from goldherd.native.linux cimport (ftruncate, pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock,
                                    pthread_mutex_trylock,
                                    pthread_mutex_unlock, store32)
from goldherd_plugins.vhd.bat cimport BAT_ENTRIES_PER_SECTOR, place_of
from goldherd_plugins.vhd.bitmap cimport WORDS_PER_SECTOR, set_run
from goldherd_plugins.vhd.pending cimport stamp
from goldherd_plugins.vhd.tables cimport dirty_add, dirty_close, dirty_open, dirty_take

from goldherd.errors import raise_for_errno

cdef enum:
    FOOTER_BYTES = 512
    ALIGNMENT = 4096        # of a block's data in the file, as Windows 8 and later place it

cdef char[512] NO_SECTORS
memset(NO_SECTORS, 0, 512)


cdef class Writer:
    """Allocation and flush of one disk that is open for writing.

    Args:
        fd: the file, writable; stays the image's.
        table: its block table.
        bitmaps: its sector bitmaps; None for a dynamic disk.
        block_bytes: data in a block.
        bitmap_bytes: a block's bitmap in the file.
        file_bytes: length of the file.
        footer: the 512 bytes that every new end gets.
        pending: memory for what is not flushed, which outlives the process; None without such.
    """

    def __cinit__(self, *args, **kwargs) -> None:
        pthread_mutex_init(&self.changes, NULL)
        pthread_mutex_init(&self.flushing, NULL)

    def __init__(self, int fd, BlockTable table not None, SectorBitmaps bitmaps, *, block_bytes: int,
                 bitmap_bytes: int, file_bytes: int, footer: bytes, PendingTables pending = None) -> None:
        self.fd = fd
        self.table = table
        self.bitmaps = bitmaps
        self.pending = pending
        self.block_bytes = block_bytes
        self.bitmap_bytes = bitmap_bytes
        self.file_bytes = file_bytes
        if len(footer) != FOOTER_BYTES:
            raise ValueError("a footer has 512 bytes")
        memcpy(self.footer, <const char*>footer, FOOTER_BYTES)
        if (dirty_open(&self.dirty_bat, (table.entries + BAT_ENTRIES_PER_SECTOR - 1) // BAT_ENTRIES_PER_SECTOR)
                or dirty_open(&self.dirty_bitmaps, table.entries * (self.bitmap_bytes // 512))):
            raise MemoryError

    def __dealloc__(self) -> None:
        dirty_close(&self.dirty_bat)
        dirty_close(&self.dirty_bitmaps)
        pthread_mutex_destroy(&self.changes)
        pthread_mutex_destroy(&self.flushing)

    @property
    def file_bytes(self) -> int:
        """The file's length."""
        return self.file_bytes

    def take_over(self, blocks: object, fd: int, words_at: int) -> None:
        """Takes over what a killed process left; the next flush brings it to the file.

        Args:
            blocks: the numbers of the blocks that the table has from there, and the file's own has not.
            fd: the memory that was left.
            words_at: where its sector bitmaps are.
        """
        cdef uint64_t block
        cdef int left = fd
        cdef int64_t position = words_at
        cdef int result = 0
        for number in blocks:
            block = number
            dirty_add(&self.dirty_bat, block // BAT_ENTRIES_PER_SECTOR)
            if self.bitmaps is None:
                self._add_bitmap(block)
            if self.pending is not None:
                if not self.pending.reserve(&self.pending.slots[block], sizeof(uint32_t)):
                    raise MemoryError
                store32(&self.pending.slots[block], self.table.slots[block])
        if self.bitmaps is not None:
            with nogil:
                result = self.bitmaps.merge(left, position, self.table.slots, &self.dirty_bitmaps)
        raise_for_errno(result, "", "read the memory that a killed process left")

    # --- allocation ---

    cdef int allocate(self, uint64_t block) noexcept nogil:
        """Gives the block a place unless it has one; 0, or -errno and nothing has changed."""
        cdef int result = 0
        pthread_mutex_lock(&self.changes)
        if place_of(self.table.slots, block) == 0:
            result = self._grow(block)
        pthread_mutex_unlock(&self.changes)
        return result

    cdef int _grow(self, uint64_t block) noexcept nogil:
        cdef uint64_t data = (self.file_bytes + self.bitmap_bytes + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        cdef uint64_t place = data - self.bitmap_bytes
        cdef uint64_t end = data + self.block_bytes
        cdef uint64_t sector
        cdef int result
        if place >> 9 >= <uint64_t>0xFFFFFFFF:
            return -ENOSPC
        if self.pending is not None and not self._reserve(block):
            return -ENOMEM
        if ftruncate(self.fd, <int64_t>(end + FOOTER_BYTES)):
            return -errno
        result = write_whole(self.fd, <int64_t>end, FOOTER_BYTES, self.footer)
        for sector in range(self.bitmap_bytes // 512):      # a flush that brings the bitmap finds its room
            if result == 0:
                result = write_whole(self.fd, <int64_t>(place + sector * 512), 512, NO_SECTORS)
        if result:
            ftruncate(self.fd, <int64_t>self.file_bytes)    # a failure leaves a gap: recovery handles it
            return result
        self.file_bytes = end + FOOTER_BYTES
        if self.pending is not None:
            store32(&self.pending.slots[block], <uint32_t>(place >> 9))
        store32(&self.table.slots[block], <uint32_t>(place >> 9))
        self.table.allocated += 1
        dirty_add(&self.dirty_bat, block // BAT_ENTRIES_PER_SECTOR)
        if self.bitmaps is None:
            self._add_bitmap(block)
        return 0

    cdef bint _reserve(self, uint64_t block) noexcept nogil:
        """Memory for the entry and the bits of a block, before anything refers to it."""
        cdef uint64_t words = 0 if self.bitmaps is None else self.bitmaps.words_per_block
        if words and not self.pending.reserve(self.bitmaps.words + block * words, words * 8):
            return False
        return self.pending.reserve(&self.pending.slots[block], sizeof(uint32_t))

    cdef void _add_bitmap(self, uint64_t block) noexcept nogil:
        """The whole bitmap of a dynamic disk's new block."""
        cdef uint64_t sector
        for sector in range(self.bitmap_bytes // 512):
            dirty_add(&self.dirty_bitmaps, block * (self.bitmap_bytes // 512) + sector)

    cdef void mark(self, uint64_t block, uint64_t first, uint64_t count) noexcept nogil:
        """Sets bits whose sectors have been written. Call it after the data's pwrite has returned."""
        pthread_mutex_lock(&self.changes)
        self._mark(block, first, count)
        pthread_mutex_unlock(&self.changes)

    cdef bint mark_now(self, uint64_t block, uint64_t first, uint64_t count) noexcept nogil:
        """mark(), unless another thread changes the tables: it may be waiting for the disk. Whether the bits are set."""
        if pthread_mutex_trylock(&self.changes):
            return False
        self._mark(block, first, count)
        pthread_mutex_unlock(&self.changes)
        return True

    cdef void _mark(self, uint64_t block, uint64_t first, uint64_t count) noexcept nogil:
        cdef uint64_t sector
        set_run(self.bitmaps.words + block * self.bitmaps.words_per_block, first, count)
        for sector in range(first // (64 * WORDS_PER_SECTOR), (first + count - 1) // (64 * WORDS_PER_SECTOR) + 1):
            dirty_add(&self.dirty_bitmaps, block * self.bitmaps.file_sectors_per_block + sector)

    # --- flush ---

    cdef int flush(self, NativeImage owner) noexcept nogil:
        """Everything stored before the call is on stable storage when it returns 0; see the order above.

        `owner` is the image, whose syncs they are. -ENOSPC, -EDQUOT or -ENOMEM: nothing is lost, and a later flush may
        succeed. Any other error: -EIO, and the image has failed.
        """
        cdef TableSector* sectors = NULL
        cdef uint64_t count = 0
        cdef int result
        pthread_mutex_lock(&self.flushing)
        stamp(self.pending)
        result = self._snapshot(&sectors, &count)
        if result == 0:
            result = self._publish(owner, sectors, count)
            if result:
                self._put_back(sectors, count)
            if result and result != -ENOSPC and result != -EDQUOT and result != -ENOMEM:
                if self.pending is not None:
                    self.pending.void()
                result = owner.fail_file(self.fd, -result)
        free(sectors)
        pthread_mutex_unlock(&self.flushing)
        return result

    cdef int _snapshot(self, TableSector** sectors, uint64_t* count) noexcept nogil:
        """Empties the dirty sets into copies of their sectors."""
        cdef uint64_t i = 0
        pthread_mutex_lock(&self.changes)
        count[0] = self.dirty_bat.count + self.dirty_bitmaps.count
        if count[0]:
            sectors[0] = <TableSector*>malloc(count[0] * sizeof(TableSector))
            if sectors[0] == NULL:
                pthread_mutex_unlock(&self.changes)
                return -ENOMEM
        while self.dirty_bat.count:
            self._copy(&self.dirty_bat, &sectors[0][i])
            i += 1
        while self.dirty_bitmaps.count:
            self._copy(&self.dirty_bitmaps, &sectors[0][i])
            i += 1
        pthread_mutex_unlock(&self.changes)
        return 0

    cdef void _copy(self, Dirty* origin, TableSector* sector) noexcept nogil:
        cdef uint64_t per_block = self.bitmap_bytes // 512
        cdef uint64_t block
        sector.origin = origin
        sector.index = dirty_take(origin)
        sector.early = False
        if origin == &self.dirty_bat:
            sector.position = <int64_t>(self.table.offset + sector.index * 512)
            self.table.fill_sector(sector.index, sector.bytes)
            return
        block = sector.index // per_block
        sector.position = <int64_t>(place_of(self.table.slots, block) + sector.index % per_block * 512)
        if self.bitmaps is None:
            sector.early = True
            memset(sector.bytes, 0xFF, 512)
        else:
            self.bitmaps.fill_sector(block, sector.index % per_block, sector.bytes)

    cdef int _publish(self, NativeImage owner, TableSector* sectors, uint64_t count) noexcept nogil:
        cdef bint early
        cdef uint64_t i
        cdef int result
        for early in range(1, -1, -1):
            for i in range(count):
                if sectors[i].early == early:
                    result = write_whole(self.fd, sectors[i].position, 512, sectors[i].bytes)
                    if result:
                        return result
            if early or count:
                result = owner.sync_file(self.fd)
                if result:
                    return result
        return 0

    cdef void _put_back(self, TableSector* sectors, uint64_t count) noexcept nogil:
        """What could not be written stays to be written; its content is taken anew then."""
        cdef uint64_t i
        pthread_mutex_lock(&self.changes)
        for i in range(count):
            dirty_add(sectors[i].origin, sectors[i].index)
        pthread_mutex_unlock(&self.changes)
