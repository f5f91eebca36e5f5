"""The driver of a reactor: sockets and epoll around the core."""

from libc.stdint cimport uint32_t

from goldherd.reactor.core cimport Core
from goldherd.reactor.outbox cimport Outbox
from goldherd.session.session cimport Connection

cdef class Reactor:
    cdef Core core
    cdef readonly int number
    cdef int epoll
    cdef bint stopping
    cdef readonly Outbox outbox
    cdef object storage, python     # the pools, kept alive
    cdef object thread
    cdef dict units                 # session token -> what must live as long as the session
    cdef void watch_socket(self, int fd, uint32_t index, int operation, uint32_t events) noexcept nogil
    cdef bint step(self, int timeout_ms) noexcept nogil
    cdef void turn(self, Connection* c, bint readable) noexcept nogil
    cdef void end(self, Connection* c, int reason) noexcept nogil
    cdef void read_letters(self) noexcept nogil
    cdef void tick(self) noexcept nogil
