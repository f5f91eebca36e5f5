"""The core driven with bytes instead of sockets; see inmemory.pyx."""

from libc.stdint cimport uint32_t

from goldherd.block.pool cimport Job, Pool
from goldherd.reactor.loop cimport Loop

cdef struct Stream

cdef class DeferredPool(Pool):
    cdef Job* first
    cdef int count(self) noexcept nogil
    cdef void finish(self, int number) noexcept nogil

cdef class InMemoryReactor(Loop):
    cdef Stream** streams       # owned, by descriptor; each is a block of its own, so that pointers stay
    cdef uint32_t stream_count
    cdef DeferredPool deferred_jobs     # None: jobs are done by threads
    cdef dict numbers       # (session id, connection number) -> index of its stream
    cdef Stream* _stream(self, object session_id, object connection) except NULL
    cdef void work(self) noexcept nogil
