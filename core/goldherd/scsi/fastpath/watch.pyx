"""Ranges of a unit whose change must be noticed; the structs and the rule of their order are in watch.pxd."""

from libc.stdlib cimport calloc, free

from goldherd.native.linux cimport load8, store8


cdef class Watch:
    """Some byte ranges of one unit, and whether anything was written there since.

    Args:
        ranges: (offset, length) in bytes, each longer than 0, none over another, in any order; at least one.
    """

    def __init__(self, ranges: list[tuple[int, int]]) -> None:
        cdef uint32_t i
        if not ranges or self.state.ranges != NULL:
            raise ValueError("a watch needs ranges, and gets them once")
        self.state.ranges = <ByteRange*>calloc(len(ranges), sizeof(ByteRange))
        if self.state.ranges == NULL:
            raise MemoryError
        self.state.count = <uint32_t>len(ranges)
        for i, (offset, length) in enumerate(sorted(ranges)):
            self.state.ranges[i].begin = offset
            self.state.ranges[i].end = offset + length
        self.state.begin = self.state.ranges[0].begin
        self.state.end = self.state.ranges[self.state.count - 1].end

    def touch(self, offset: int, length: int) -> None:
        """Marks it if a write of that range concerns it; to be called before the write."""
        cdef uint64_t begin = offset
        cdef uint64_t end = offset + length
        with nogil:
            touch_one(&self.state, begin, end)

    def end(self) -> None:
        """Marks it in any case, for a token that has ended."""
        store8(&self.state.touched, 1)

    @property
    def touched(self) -> bool:
        """Whether something of the ranges may have changed; to be asked after the data was read."""
        memory_fence(__ATOMIC_SEQ_CST)
        return load8(&self.state.touched) != 0

    def __dealloc__(self) -> None:
        free(self.state.ranges)
