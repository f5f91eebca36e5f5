"""The core driven with bytes instead of sockets; see feed.pyx."""

from libc.stdint cimport uint32_t

from goldherd.reactor.desk cimport Desk

cdef struct Wire

cdef class Feed(Desk):
    cdef Wire** wires       # owned, by descriptor; each is a block of its own, so that pointers stay
    cdef uint32_t wire_count
    cdef dict numbers       # (session token, link) -> wire
    cdef Wire* _wire(self, object token, object link) except NULL
    cdef void work(self) noexcept nogil
