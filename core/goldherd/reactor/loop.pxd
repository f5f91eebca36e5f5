"""The steps of a reactor that all drivers share: messages, connections that are served, the clock."""

from goldherd.reactor.control cimport ReactorControl
from goldherd.session.state cimport Connection, Session

cdef enum Interest:
    # what a driver is to be told of a connection
    INTEREST_BEGIN = 1      # a new connection: tell when something can be received
    INTEREST_INPUT = 2      # tell when something can be received
    INTEREST_OUTPUT = 3     # tell only when something can be sent
    INTEREST_END = 4        # forget it and close its descriptor
    INTEREST_NOTHING = 5    # tell only when it is broken
    INTEREST_NEVER = 6      # tell nothing, until INTEREST_BEGIN

cdef class Loop(ReactorControl):
    cdef bint parked        # held, and the driver tells nothing
    # The driver's part. INTEREST_END is the last call for a connection.
    cdef void set_interest(self, Connection* c, int interest) noexcept nogil
    # The end of a connection: with all others of its session, or (end_one) alone.
    cdef void end(self, Connection* c, int reason) noexcept nogil
    cdef void end_one(self, Connection* c, int reason) noexcept nogil
    # Between them the reactor is held: its driver tells nothing of any connection.
    cdef void park(self) noexcept nogil
    cdef void unpark(self) noexcept nogil
    # The driver watches a connection that was parked, or has come from another process.
    cdef void watch(self, Connection* c) noexcept nogil
    # A driver's step is made of these, between begin_step() and end_step().
    cdef void read_messages(self) noexcept nogil
    cdef void serve(self, Connection* c, bint readable) noexcept nogil
    cdef void serve_ready(self) noexcept nogil
    cdef void do_due(self) noexcept nogil
    # Ends every connection and waits for their jobs; no step may follow. A driver calls it in its __dealloc__, as long
    # as its set_interest() still works.
    cdef void end_all(self) noexcept nogil
