"""The driver of a reactor: sockets and epoll around the core."""

from goldherd.reactor.desk cimport Desk

cdef class Reactor(Desk):
    cdef int epoll
    cdef bint stopping
    cdef object thread
    cdef bint step(self, int timeout_ms) noexcept nogil
