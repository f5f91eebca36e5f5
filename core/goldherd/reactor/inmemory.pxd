"""The core driven with bytes instead of sockets; see feed.pyx."""

from libc.stdint cimport uint32_t

from goldherd.block.pool cimport Job, Pool
from goldherd.reactor.loop cimport Desk

cdef struct Wire

cdef class HeldPool(Pool):
    cdef Job* first
    cdef int count(self) noexcept nogil
    cdef void finish(self, int number) noexcept nogil

cdef class Feed(Desk):
    cdef Wire** wires       # owned, by descriptor; each is a block of its own, so that pointers stay
    cdef uint32_t wire_count
    cdef HeldPool held_jobs     # None: jobs are done by threads
    cdef dict numbers       # (session token, link) -> wire
    cdef Wire* _wire(self, object token, object link) except NULL
    cdef void work(self) noexcept nogil
