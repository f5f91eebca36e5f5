"""The driver of a reactor: sockets and epoll around the core."""

from libc.stdint cimport uint8_t

from goldherd.reactor.loop cimport Loop

cdef class Reactor(Loop):
    cdef int epoll
    cdef uint8_t stopping   # atomic
    cdef object thread
    cdef bint step(self, int timeout_ms) noexcept nogil
