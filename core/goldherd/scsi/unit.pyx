"""The logical unit that reactors read: an image, its block length, and the answers that never change by themselves.

Python builds the answers (prebuilt.py) and publishes a new list whenever something in them changes; a reactor reads
the pointer once per command. Older lists are kept until the unit goes, because a reactor may still be reading one.
"""

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from goldherd.block.image cimport Image


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
        self.lists = {}
        self.state.image = <void*>image
        self.state.block_shift = block_size.bit_length() - 1
        self.state.block_count = image.size_bytes >> self.state.block_shift
        self.state.image_flags = image.flags
        self.publish([])

    def publish(self, answers: list) -> None:
        """Replaces the prebuilt answers; each has cdb, mask (16 bytes), answer, allocation_at, allocation_bytes."""
        cdef Answers* fresh
        cdef Answer* place
        cdef bytes cdb, mask, answer
        # A client may change mode pages back and forth for ever; what was made once is used again.
        key = tuple((entry.cdb, entry.mask, entry.answer, entry.allocation_at, entry.allocation_bytes)
                    for entry in answers)
        if key in self.lists:
            self.state.answers = <Answers*><size_t>self.lists[key]
            return
        fresh = <Answers*>calloc(1, sizeof(Answers))
        if fresh == NULL:
            raise MemoryError
        fresh.answers = <Answer*>calloc(max(len(answers), 1), sizeof(Answer))
        if fresh.answers == NULL:
            free(fresh)
            raise MemoryError
        for entry in answers:
            cdb, mask, answer = entry.cdb, entry.mask, entry.answer
            if len(cdb) != 16 or len(mask) != 16 or entry.allocation_at + entry.allocation_bytes > 16:
                raise ValueError("a prebuilt answer needs 16 bytes of command block and of mask")
            place = &fresh.answers[fresh.count]
            memcpy(place.cdb, <const char*>cdb, 16)
            memcpy(place.mask, <const char*>mask, 16)
            place.allocation_at = entry.allocation_at
            place.allocation_bytes = entry.allocation_bytes
            place.length = <uint32_t>len(answer)
            place.bytes = <const unsigned char*><const char*>answer
            fresh.count += 1
        self.lists[key] = <size_t>fresh     # the key also keeps the bytes that the list points into
        self.state.answers = fresh

    def hold(self) -> None:
        """Writes wait from now on; those already running are waited for with a fence of every reactor."""
        self.state.hold += 1

    def release(self) -> None:
        """Takes one hold back; the reactors must be told to look at their parked writes."""
        self.state.hold -= 1

    def __dealloc__(self) -> None:
        cdef Answers* answers
        for address in (self.lists or {}).values():
            answers = <Answers*><size_t>address
            free(answers.answers)
            free(answers)


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
        self.state.flags = value
