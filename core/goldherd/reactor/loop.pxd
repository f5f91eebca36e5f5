"""What every driver of the core has in common: letters from Python, turns of connections, the clock."""

from libc.stdint cimport uint64_t

from goldherd.session.core cimport Core
from goldherd.reactor.events_out cimport Outbox
from goldherd.session.state cimport Connection, Session

cdef enum Watch:
    WATCH_BEGIN = 1         # a new connection: tell when something can be received
    WATCH_INPUT = 2         # tell when something can be received
    WATCH_OUTPUT = 3        # tell only when something can be sent
    WATCH_END = 4           # forget it and close its descriptor
    WATCH_NOTHING = 5       # tell only when it is broken

cdef class Desk:
    cdef Core core
    cdef readonly int number
    cdef readonly Outbox outbox
    cdef object storage, python     # the pools, kept alive
    cdef dict units                 # session token -> what must live as long as the session
    # The driver's part. WATCH_END is the last that it hears of a connection.
    cdef void watch(self, Connection* c, int how) noexcept nogil
    # The end of a connection: with all others of its session, or (end_one) alone.
    cdef void end(self, Connection* c, int reason) noexcept nogil
    cdef void end_one(self, Connection* c, int reason) noexcept nogil
    # What a driver's step is made of, between begin_step() and end_step().
    cdef void read_letters(self) noexcept nogil
    cdef void turn(self, Connection* c, bint readable) noexcept nogil
    cdef void run_turns(self) noexcept nogil
    cdef void do_due(self) noexcept nogil
    # Ends every connection and waits for their jobs; no step may follow.
    cdef void bury(self) noexcept nogil
