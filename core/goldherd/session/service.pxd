"""One connection's turn: what is ready is worked off, one receive, all answers in one send."""

from goldherd.session.core cimport Core
from goldherd.session.state cimport Connection

cdef enum Turn:
    TURN_IDLE = 0       # wait for the socket to become readable
    TURN_AGAIN = 1      # more to do, after the others
    TURN_BLOCKED = 2    # wait for the socket to become writable
    TURN_OVER = 3       # close it
    TURN_HELD = 4       # receive nothing more: what is here waits for a command of another connection

# `readable`: whether a receive is worth while. On TURN_OVER the connection's `reason` may tell why.
cdef int take_turn(Core* core, Connection* c, bint readable) noexcept nogil
