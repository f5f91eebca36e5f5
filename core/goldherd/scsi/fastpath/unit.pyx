"""The logical unit that reactors read: an image, its block length, and the answers that never change by themselves.

Python builds the answers (prebuilt.py) and publishes a new list whenever something in them changes; a reactor reads
the pointer once per command, inside a step; so an older list is freed when every step that may have seen it is over.
"""

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from goldherd.block.image cimport IMAGE_PYTHON, Image
from goldherd.block.pool cimport Pool, close_lane, next_epoch, python_pool, storage_pool, wait_for_epoch
from goldherd.native.limits cimport FULL_FORGOTTEN_MS, PREBUILT_ANSWER_BYTES_MAX
from goldherd.native.linux cimport load32, load64, store32, store_pointer
from goldherd.scsi.fastpath.watch cimport Watch, WatchState, Watches

from threading import Lock



cdef void free_answers(Answers* answers) noexcept:
    if answers != NULL:
        free(answers.answers)
        free(answers)


cdef void free_watches(Watches* watches) noexcept:
    if watches != NULL:
        free(watches.watches)
        free(watches)


cdef class HotUnit:
    """One logical unit for the data plane.

    Args:
        image: where its sectors live.
        block_size: bytes in a logical block, a power of two, at least 512.
    """

    def __init__(self, Image image not None, block_size: int = 512) -> None:
        if block_size < 512 or block_size & (block_size - 1):
            raise ValueError(f"a block of {block_size} bytes is not a power of two from 512 up")
        self.image = image
        self.keep = []
        self.watched = []
        self.publishing = Lock()
        self.state.image = <void*>image
        self.state.block_shift = block_size.bit_length() - 1
        self.state.block_count = image.size_bytes >> self.state.block_shift
        self.state.image_flags = image.flags
        self.pool = python_pool() if image.flags & IMAGE_PYTHON else storage_pool()
        self.state.pool = <void*>self.pool
        self.state.lane = self.pool.open_lane()
        if self.state.lane == NULL:
            raise MemoryError
        self.publish([])

    def publish(self, answers: list) -> None:
        """Replaces the prebuilt answers; each has cdb, mask (16 bytes), answer, allocation_at, allocation_bytes."""
        cdef Answers* fresh
        cdef Answers* older
        cdef Answer* place
        cdef bytes cdb, mask, answer
        for entry in answers:
            if len(entry.cdb) != 16 or len(entry.mask) != 16:
                raise ValueError("a prebuilt answer needs 16 bytes of command block and of mask")
            if entry.allocation_bytes not in (0, 1, 2, 4) or not 0 <= entry.allocation_at <= 16 - entry.allocation_bytes:
                raise ValueError("an allocation length has 1, 2 or 4 bytes of the command block, or there is none")
            if len(entry.answer) > PREBUILT_ANSWER_BYTES_MAX:
                raise ValueError(f"{len(entry.answer)} bytes are too many for a prebuilt answer; let Python give it")
        fresh = <Answers*>calloc(1, sizeof(Answers))
        if fresh == NULL:
            raise MemoryError
        fresh.answers = <Answer*>calloc(max(len(answers), 1), sizeof(Answer))
        if fresh.answers == NULL:
            free(fresh)
            raise MemoryError
        keep = []
        for entry in answers:
            cdb, mask, answer = entry.cdb, entry.mask, entry.answer
            place = &fresh.answers[fresh.count]
            memcpy(place.cdb, <const char*>cdb, 16)
            memcpy(place.mask, <const char*>mask, 16)
            place.allocation_at = entry.allocation_at
            place.allocation_bytes = entry.allocation_bytes
            place.length = <uint32_t>len(answer)
            place.bytes = <const unsigned char*><const char*>answer
            keep.append(answer)
            fresh.count += 1
        with self.publishing:
            older = self.state.answers
            store_pointer(&self.state.answers, fresh)
            before, self.keep = self.keep, keep
            if older != NULL:
                with nogil:
                    wait_for_epoch(next_epoch())
                free_answers(older)
        del before      # not earlier: a reactor may have been copying its bytes

    def exchange(self, Image image not None) -> None:
        """Another image over the same disk. No reactor may run, and no job of the unit be under way."""
        if image.size_bytes >> self.state.block_shift != self.state.block_count:
            raise ValueError(f"the disk had {self.state.block_count} blocks and now has {image.size_bytes} bytes")
        if (image.flags ^ self.image.flags) & IMAGE_PYTHON:
            raise ValueError("the disk had a backend of another kind")
        self.image = image
        self.state.image = <void*>image
        self.state.image_flags = image.flags

    def watch(self, watched: tuple) -> None:
        """Replaces the Watch objects that are told of writes; returns when no reactor sees the older ones."""
        cdef Watches* fresh = NULL
        cdef Watches* older
        cdef Watch one
        if watched:
            fresh = <Watches*>calloc(1, sizeof(Watches))
            if fresh == NULL:
                raise MemoryError
            fresh.watches = <WatchState**>calloc(len(watched), sizeof(WatchState*))
            if fresh.watches == NULL:
                free(fresh)
                raise MemoryError
            for one in watched:
                fresh.watches[fresh.count] = &one.state
                fresh.count += 1
        with self.publishing:
            older = self.state.watches
            store_pointer(&self.state.watches, fresh)
            before, self.watched = self.watched, list(watched)
            if older != NULL:
                with nogil:
                    wait_for_epoch(next_epoch())
                free_watches(older)
        del before      # not earlier: a reactor may have been marking one

    def quiesce(self) -> None:
        """Writes wait from now on; a drain of every reactor waits for those already running."""
        store32(&self.state.quiesced, self.state.quiesced + 1)      # one step, by the GIL

    def resume(self) -> None:
        """Takes one quiesce() back; wake() the reactors then, which have suspended writes."""
        store32(&self.state.quiesced, self.state.quiesced - 1)

    def note_lack(self, now_ms: int) -> int:
        """A command of the slow path met a lack of space at that time: since when the disk is full."""
        return note_lack(&self.state, now_ms)

    def note_space(self) -> None:
        """A command that waited for space has found it."""
        note_space(&self.state)

    def forget_lack(self, now_ms: int) -> None:
        """A disk of which no write waits is full no more when none has met a lack of space for a while."""
        if load32(&self.state.space_waits) == 0 and now_ms > load64(&self.state.lack_ms) + FULL_FORGOTTEN_MS:
            note_space(&self.state)

    @property
    def full_since_ms(self) -> int:
        """Since when its writes meet a lack of space, by the clock of the reactors; 0: they don't."""
        return load64(&self.state.full_ms)

    @property
    def space_waits(self) -> int:
        """How many writes wait for space."""
        return load32(&self.state.space_waits)

    def __dealloc__(self) -> None:
        close_lane(self.state.lane)
        free_answers(self.state.answers)
        free_watches(self.state.watches)


cdef class HotNexus:
    """One I_T_L nexus for the data plane: which unit, and what Python must judge first."""

    def __init__(self, HotUnit unit not None, number: int, flags: int = 0) -> None:
        self.unit = unit
        self.state.unit = &unit.state
        self.state.number = number
        self.state.flags = flags

    @property
    def number(self) -> int:
        return self.state.number

    @property
    def flags(self) -> int:
        """NexusFlag bits; a change counts from the next command a reactor looks at."""
        return self.state.flags

    @flags.setter
    def flags(self, value: int) -> None:
        store32(&self.state.flags, value)
