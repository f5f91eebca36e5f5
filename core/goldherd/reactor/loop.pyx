"""The steps of a reactor that all drivers share: messages, connections that are served, the clock.

epoll.pyx drives this with sockets, inmemory.pyx with bytes.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t

from goldherd.native.limits cimport GAP_SECONDS, SEND_STUCK_SECONDS
from goldherd.reactor.commands_in cimport act, report_still
from goldherd.reactor.full_disks cimport look_after_full_disks
from goldherd.session.backlog cimport clear_batch, drop_pending
from goldherd.session.connections cimport leave_session
from goldherd.session.codes cimport (
    CLOSE_ALONE, CLOSE_GAP, CLOSE_LOGOUT, CLOSE_PEER, CLOSE_SILENT, CLOSE_STUCK, STEP_COMMANDS, STEP_MESSAGES, STEP_TIMERS)
from goldherd.session.core cimport Core, turn_to
from goldherd.session.emit cimport emit_nop_in
from goldherd.session.messages cimport Message, collect
from goldherd.session.queues cimport run_soon, stop_running
from goldherd.session.service cimport SERVICE_AGAIN, SERVICE_BLOCKED, SERVICE_OVER, SERVICE_PAUSED, serve_connection
from goldherd.session.tasks cimport end_connection, retry_suspended
from goldherd.wire.opcodes cimport RESERVED_TAG

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int)


@cython.no_gc_clear
cdef class Loop(ReactorControl):
    """What a reactor does in one step; a driver derives from it and adds where bytes come from."""

    cdef void set_interest(self, Connection* c, int interest) noexcept nogil:
        pass                                # a driver knows what to do

    cdef void end(self, Connection* c, int reason) noexcept nogil:
        """At ErrorRecoveryLevel 0 a session ends with any of its connections (RFC 7143 7.1.4.4), unless that was
        closed alone."""
        cdef Connection* other
        if reason != CLOSE_ALONE and c.session.multiple:
            other = c.session.first
            while other != NULL:
                if other == c or other.closed:
                    other = other.sibling
                    continue
                self.end_one(other, reason)
                other = c.session.first         # the list has changed; c itself keeps the session
        self.end_one(c, reason)

    cdef void end_one(self, Connection* c, int reason) noexcept nogil:
        """Order: the socket closes, what waited for it is dropped, tasks end; the control plane is told when nothing of it
        is in use."""
        self.set_interest(c, INTEREST_END)
        c.fd = -1
        drop_pending(c)
        end_connection(&self.core, c, reason)

    cdef void read_messages(self) noexcept nogil:
        cdef Message* message = collect(&self.core.messages)
        cdef Message* following
        cdef Connection* c
        cdef bint ends
        turn_to(&self.core, STEP_MESSAGES)
        while message != NULL:
            following = message.next
            c = act(&self.core, message, &ends)
            if c != NULL and ends:
                self.end(c, c.reason)
            elif c != NULL and not self.parked:
                self.set_interest(c, INTEREST_BEGIN)
            message = following
        if self.core.suspended != NULL:     # fetches notify by the same eventfd: perhaps one has ended
            retry_suspended(&self.core)
        if self.core.held:
            if not self.parked:
                self.park()
            report_still(&self.core)
        elif self.parked:
            self.unpark()
        turn_to(&self.core, STEP_COMMANDS)

    cdef void park(self) noexcept nogil:
        cdef uint32_t i
        self.parked = True
        for i in range(self.core.connection_room):
            if self.core.connections[i] != NULL and not self.core.connections[i].closed:
                self.set_interest(self.core.connections[i], INTEREST_NEVER)

    cdef void unpark(self) noexcept nogil:
        cdef uint32_t i
        self.parked = False
        for i in range(self.core.connection_room):
            if self.core.connections[i] != NULL and not self.core.connections[i].closed:
                self.watch(self.core.connections[i])

    cdef void watch(self, Connection* c) noexcept nogil:
        """The clocks of a connection begin anew: its initiator is not to blame for the time in which it was not served."""
        self.set_interest(c, INTEREST_BEGIN)
        if c.blocked:
            self.set_interest(c, INTEREST_OUTPUT)
        elif c.paused:
            self.set_interest(c, INTEREST_NOTHING)
        c.input_ms = self.core.now_ms
        c.stalled_ms = self.core.now_ms
        if c.stuck_ms:
            c.stuck_ms = self.core.now_ms
        run_soon(&self.core, c)

    cdef void serve(self, Connection* c, bint readable) noexcept nogil:
        cdef int result = serve_connection(&self.core, c, readable)
        cdef bint blocked = result == SERVICE_BLOCKED
        cdef bint paused
        if result == SERVICE_OVER:
            clear_batch(&self.core)     # or the next connection of this reactor would get what was meant for this one
            self.end(c, c.reason if c.reason else CLOSE_PEER)
            return
        paused = not blocked and c.stalled and (c.paused or result == SERVICE_PAUSED)
        if blocked != c.blocked or paused != c.paused:
            c.blocked = blocked
            c.paused = paused
            self.set_interest(c, INTEREST_OUTPUT if blocked else INTEREST_NOTHING if paused else INTEREST_INPUT)
            if not blocked and c.residue_whole:
                run_soon(&self.core, c)
        if result == SERVICE_AGAIN:
            run_soon(&self.core, c)

    cdef void serve_ready(self) noexcept nogil:
        """Serves every connection of the run queue once; one that joins the queue meanwhile is served by the next step.

        A service may end other connections, so the queue is read anew each time.
        """
        cdef Core* core = &self.core
        cdef Connection* c
        cdef uint32_t left = 0 if core.held else core.running_count
        while left and core.running_first != NULL:
            left -= 1
            c = core.running_first
            stop_running(core, c)
            if not c.closed and not c.blocked and (c.send_first != NULL or c.residue_whole or c.closing):
                self.serve(c, False)

    cdef void do_due(self) noexcept nogil:
        """Once a second: a silent initiator is pinged, one that takes nothing is closed, writes of full disks are looked after."""
        cdef Core* core = &self.core
        cdef Connection* c
        cdef uint32_t i
        cdef uint64_t idle
        if core.held:
            report_still(core)
            return
        turn_to(core, STEP_TIMERS)
        if core.space_waiters_first != NULL:
            look_after_full_disks(core)
        for i in range(core.connection_room):
            c = core.connections[i]
            if c == NULL or c.closed or c.fd < 0:
                continue
            if c.stuck_ms and core.now_ms - c.stuck_ms > SEND_STUCK_SECONDS * 1000:
                self.end(c, CLOSE_STUCK)
                continue
            if c.stalled and core.now_ms - c.stalled_ms > GAP_SECONDS * 1000:
                self.end(c, CLOSE_GAP)
                continue
            idle = core.now_ms - c.input_ms
            if c.ping_waits and c.answers_pings and idle > core.silence_ms:
                self.end(c, CLOSE_SILENT)
            elif idle > core.ping_ms and not c.ping_waits and not c.blocked and c.send_first == NULL:
                c.ping_waits = True
                c.ping_tag += 1
                emit_nop_in(core, c, <uint32_t>RESERVED_TAG, c.ping_tag & <uint32_t>0x7FFFFFFF, NULL, NULL, 0)
                self.serve(c, False)
            elif idle <= core.ping_ms:
                c.ping_waits = False
        turn_to(core, STEP_COMMANDS)

    cdef void end_all(self) noexcept nogil:
        cdef Core* core = &self.core
        cdef Session* session
        cdef uint32_t i
        self.read_messages()
        for i in range(core.connection_room):
            if core.connections[i] != NULL and not core.connections[i].closed:
                self.end(core.connections[i], CLOSE_LOGOUT)
        while core.connection_count:        # their jobs still use buffers of ours
            usleep(1000)
            self.read_messages()
        while core.sessions != NULL:        # the connection that would replace another one never came
            session = core.sessions
            session.connections = 1
            leave_session(core, session)
