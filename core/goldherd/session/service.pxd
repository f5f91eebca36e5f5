"""The service of one connection: what is ready is worked off, one receive, all answers in one send."""

from goldherd.session.core cimport Core
from goldherd.session.state cimport Connection

cdef enum ServiceResult:
    SERVICE_IDLE = 0       # wait for the socket to become readable
    SERVICE_AGAIN = 1      # more to do, after the others
    SERVICE_BLOCKED = 2    # wait for the socket to become writable
    SERVICE_OVER = 3       # close it
    SERVICE_PAUSED = 4       # receive nothing more: what is here waits for a command of another connection

# `readable`: whether a receive is worth while. On SERVICE_OVER the connection's `reason` may tell why.
cdef int serve_connection(Core* core, Connection* c, bint readable) noexcept nogil
