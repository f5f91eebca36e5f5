"""A dynamic or differencing VHD as an image: who owns which sectors, and reading and writing them.

Every range falls into runs of one owner: "own" lies in this file, "below" is the parent's, or zeros without one. The
walk over runs is run_at(); plan, load, erase and extent are made of it. Reads take no lock: a block table entry or a
bit becomes visible only after what it stands for (writer.pyx keeps the order).
"""

from libc.errno cimport EAGAIN, EBADF, EDQUOT, EINVAL, EIO, EROFS
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from goldherd.block.fileio cimport file_extent, read_whole, store_flags, write_now, write_whole, zero_range
from goldherd.block.image cimport EXTENT_HOLE, RUN_FILE, RUN_ZERO, Run, has_failed, may_not_grow
from goldherd.native.linux cimport close
from goldherd_plugins.vhd.bat cimport place_of
from goldherd_plugins.vhd.bitmap cimport bit_run
from goldherd_plugins.vhd.pending cimport stamp
import os
from dataclasses import replace

from goldherd.errors import StorageFullError, raise_for_errno
from goldherd_plugins.vhd.bitmap import bitmap_words
from goldherd_plugins.vhd.describe import describe_survey, uuid_of
from goldherd_plugins.vhd.left import words_at
from goldherd_plugins.vhd.pending import pending_tables
from goldherd_plugins.vhd.survey import bitmap_bytes_of

cdef enum:
    BELOW = -1      # in place of a position: the run is not in this file


cdef class VhdImage(NativeImage):
    """A dynamic or differencing VHD.

    Args:
        fd: the file, open (and locked) for reading, and for writing unless read_only; the image's from now on.
        survey: its checked structures (survey.py); for writing they must be without fault (repair.py).
        parent: the image below, for a differencing disk.
        read_only: whether writes are refused; then nothing in here can write to the file.
        failure: what pending_failure() has found; the disk then takes no writes.
        left: what a killed process left of the tables, on which the survey is based; stays the caller's.
    """

    def __cinit__(self, *args, **kwargs) -> None:
        self.fd = -1

    def __init__(self, int fd, object survey, *, Image parent = None, bint read_only = False,
                 object failure = None, object left = None) -> None:
        cdef int result
        read_only = read_only or failure is not None
        super().__init__(survey.size_bytes, read_only=read_only, path=survey.path)
        if failure is not None:
            self.fail(failure)
        header = survey.header
        self.survey = replace(survey, bat=None)     # the table below is the one that counts
        self.block_bytes = header.block_bytes
        self.block_shift = self.block_bytes.bit_length() - 1
        self.bitmap_bytes = bitmap_bytes_of(header.block_bytes)
        self.table = BlockTable(survey.bat, header.bat_offset)
        self.parent = parent
        self.parent_bytes = 0 if parent is None else parent.size_bytes
        words = 0 if parent is None else bitmap_words(header.table_entries, header.block_bytes)
        if not read_only:
            self.pending = pending_tables(fd, survey.path, header.table_entries, words, left)
        try:
            self._load(fd, survey, header, left)
            if self.pending is not None:
                self.pending.publish(fd)
        except BaseException:
            if self.pending is not None:
                self.pending.remove(fd)
            raise
        self.fd = fd
        self.flags = store_flags(fd)

    def _load(self, fd: int, survey: object, header: object, left: object) -> None:
        """Tables, bitmaps and the writer, with what was left."""
        cdef int descriptor = fd
        cdef int memory = -1 if left is None else left.memory.descriptor
        cdef int64_t position = words_at(header.table_entries)
        cdef int result
        if self.parent is not None:
            self.bitmaps = SectorBitmaps(header.table_entries, header.block_bytes, self.pending)
            with nogil:
                result = self.bitmaps.load(descriptor, self.table.slots)
                if result == 0 and memory >= 0 and self.read_only:
                    result = self.bitmaps.merge(memory, position, self.table.slots, NULL)
            raise_for_errno(result, self.path, "read the sector bitmaps")
        if not self.read_only:
            self.writer = Writer(fd, self.table, self.bitmaps, block_bytes=header.block_bytes,
                                 bitmap_bytes=self.bitmap_bytes, file_bytes=survey.file_bytes,
                                 footer=survey.footer.raw, pending=self.pending)
            if left is not None:
                self.writer.take_over(survey.taken_over, memory, position)

    def __dealloc__(self) -> None:
        if self.fd >= 0:
            close(self.fd)

    def close(self) -> None:
        if self.fd < 0:
            return
        keep = False
        try:
            if not self.read_only:
                self.synchronize()
        except StorageFullError:
            keep = True     # nothing is lost: the next opening takes the tables over
            raise
        finally:
            if self.pending is not None and not keep:
                self.pending.remove(self.fd)    # before the file's lock ends
            fd, self.fd = self.fd, -1
            self._close_file(fd)

    @property
    def uuid(self) -> object:
        """The footer's unique id, by which children know their parent."""
        return uuid_of(self.survey)

    @property
    def disk_type(self) -> int:
        """3 dynamic, 4 differencing."""
        return self.survey.footer.disk_type

    @property
    def kind(self) -> str:
        """ "dynamic" or "differencing"."""
        return self.survey.kind

    def describe(self) -> dict[str, object]:
        """What people want to know about the disk, as it is now."""
        return {**describe_survey(self.survey), "blocks": self.table.entries,
                "blocks_allocated": self.table.allocated, "file_bytes": os.fstat(self.fd).st_size,
                "read_only": bool(self.read_only)}

    # --- who owns what ---

    cdef uint64_t run_at(self, uint64_t offset, uint64_t end, int64_t* position) noexcept nogil:
        """The bytes from offset on, before end, with one owner; their place in the file, or BELOW.

        An own run ends with its block; a run below goes on over blocks, so that the parent is asked once.
        """
        cdef uint64_t at = offset
        cdef uint64_t block, begin, stop, place, run
        cdef bint own
        while at < end:
            block = at >> self.block_shift
            begin = block << self.block_shift
            stop = min(end, begin + self.block_bytes)
            place = place_of(self.table.slots, block)
            if place == 0:
                at = stop
                continue
            own = True
            run = stop
            if self.bitmaps is not None:
                run = bit_run(self.bitmaps.words + block * self.bitmaps.words_per_block, (at - begin) >> 9,
                              (stop - begin + 511) >> 9, &own)
                run = min(stop, begin + ((((at - begin) >> 9) + run) << 9))
            if own:
                if at > offset:
                    break
                position[0] = <int64_t>(place + self.bitmap_bytes + (offset - begin))
                return run - offset
            at = run
        position[0] = BELOW
        return at - offset

    # --- reading ---

    cdef int plan(self, uint64_t offset, uint64_t length, Run* runs, int runs_max) noexcept nogil:
        cdef uint64_t end = offset + length
        cdef uint64_t span, covered
        cdef int64_t position
        cdef int count = 0
        cdef int got, i
        if self.fd < 0:
            return -EBADF
        while offset < end and count < runs_max:
            span = self.run_at(offset, end, &position)
            if position != BELOW:
                runs[count].kind = RUN_FILE
                runs[count].fd = self.fd
                runs[count].position = position
                runs[count].length = span
                count += 1
            elif offset >= self.parent_bytes:
                runs[count].kind = RUN_ZERO
                runs[count].length = span
                count += 1
            else:
                span = min(span, self.parent_bytes - offset)
                got = self.parent.plan(offset, span, runs + count, runs_max - count)
                if got < 0:
                    return count if count else got
                covered = 0
                for i in range(count, count + got):
                    covered += runs[i].length
                count += got
                if covered < span:
                    break
            offset += span
        return count

    cdef int load(self, uint64_t offset, uint64_t length, char* target) noexcept nogil:
        cdef uint64_t end = offset + length
        cdef uint64_t span
        cdef int64_t position
        cdef int result
        if self.fd < 0:
            return -EBADF
        while offset < end:
            span = self.run_at(offset, end, &position)
            result = 0
            if position != BELOW:
                result = read_whole(self.fd, position, span, target)
            elif offset >= self.parent_bytes:
                memset(target, 0, span)
            else:
                span = min(span, self.parent_bytes - offset)
                result = self.parent.load(offset, span, target)
            if result < 0:
                return result
            offset += span
            target += span
        return 0

    cdef int64_t extent(self, uint64_t offset, uint64_t length, int* state) noexcept nogil:
        cdef int64_t position
        cdef uint64_t span = self.run_at(offset, offset + length, &position)
        if position != BELOW:
            return file_extent(self.fd, position, span, state)
        if offset < self.parent_bytes:
            return self.parent.extent(offset, min(span, self.parent_bytes - offset), state)
        state[0] = EXTENT_HOLE
        return span

    # --- writing ---

    cdef int store(self, uint64_t offset, uint64_t length, const char* source) noexcept nogil:
        return self._store(offset, length, source, False)

    cdef int store_now(self, uint64_t offset, uint64_t length, const char* source) noexcept nogil:
        """Sectors of blocks that have a place; everything else is for a thread that may wait."""
        return self._store(offset, length, source, True)

    cdef int _store(self, uint64_t offset, uint64_t length, const char* source, bint now) noexcept nogil:
        cdef uint64_t part
        cdef int result
        if self.read_only or has_failed(self):
            return -EROFS
        if (offset | length) & 511:
            return -EINVAL
        while length:
            part = min(length, self.block_bytes - (offset & (self.block_bytes - 1)))
            result = self._put_now(offset, part, source) if now else self._put(offset, part, source)
            if result:
                return result
            offset += part
            source += part
            length -= part
        return 0

    cdef int _put_now(self, uint64_t offset, uint64_t length, const char* source) noexcept nogil:
        cdef uint64_t block = offset >> self.block_shift
        cdef uint64_t inside = offset & (self.block_bytes - 1)
        cdef uint64_t place = place_of(self.table.slots, block)
        cdef int result
        if self.fd < 0:
            return -EBADF
        if place == 0 or may_not_grow(self):
            return -EAGAIN
        stamp(self.pending)
        result = write_now(self.fd, <int64_t>(place + self.bitmap_bytes + inside), length, source)
        if result or self._owns(block, inside, length) or self.writer.mark_now(block, inside >> 9, length >> 9):
            return result
        return -EAGAIN

    cdef bint _owns(self, uint64_t block, uint64_t inside, uint64_t length) noexcept nogil:
        """Whether every sector of a range of an allocated block is the disk's own already."""
        cdef bint own
        cdef uint64_t run
        if self.bitmaps is None:
            return True
        run = bit_run(self.bitmaps.words + block * self.bitmaps.words_per_block, inside >> 9,
                      (inside + length) >> 9, &own)
        return own and run >= length >> 9

    cdef int _put(self, uint64_t offset, uint64_t length, const char* source) noexcept nogil:
        """Stores a part of one block (source NULL: zeros): place, then data, then bits."""
        cdef uint64_t block = offset >> self.block_shift
        cdef uint64_t inside = offset & (self.block_bytes - 1)
        cdef uint64_t place = place_of(self.table.slots, block)
        cdef int result
        if self.fd < 0:
            return -EBADF
        if may_not_grow(self) and (place == 0 or not self._owns(block, inside, length)):
            return -EDQUOT
        if place == 0:
            result = self.writer.allocate(block)
            if result:
                return result
            place = place_of(self.table.slots, block)
        place += self.bitmap_bytes + inside
        stamp(self.pending)
        if source != NULL:
            result = write_whole(self.fd, <int64_t>place, length, source)
        else:
            result = zero_range(self.fd, <int64_t>place, length)
        if result == 0 and not self._owns(block, inside, length):
            self.writer.mark(block, inside >> 9, length >> 9)
        return result

    cdef int persist(self) noexcept nogil:
        if self.fd < 0:
            return -EBADF
        if has_failed(self):
            return -EIO
        return 0 if self.read_only else self.writer.flush(self)

    cdef int erase(self, uint64_t offset, uint64_t length) noexcept nogil:
        """Zeros are data in a differencing disk: a cleared bit would bring the parent's bytes back."""
        cdef uint64_t end = offset + length
        cdef uint64_t part
        cdef int result
        if self.read_only or has_failed(self):
            return -EROFS
        if (offset | length) & 511:
            return -EINVAL
        while offset < end:
            part = min(end - offset, self.block_bytes - (offset & (self.block_bytes - 1)))
            if place_of(self.table.slots, offset >> self.block_shift) or not self._reads_zero_below(offset, part):
                result = self._put(offset, part, NULL)
                if result:
                    return result
            offset += part
        return 0

    cdef bint _reads_zero_below(self, uint64_t offset, uint64_t length) noexcept nogil:
        """Whether nothing below has data in the range; then an unallocated block already reads as zeros."""
        cdef uint64_t end = min(offset + length, self.parent_bytes)
        cdef int64_t span
        cdef int state = EXTENT_HOLE
        while offset < end:
            span = self.parent.extent(offset, end - offset, &state)
            if span <= 0 or state != EXTENT_HOLE:
                return False
            offset += <uint64_t>span
        return True
