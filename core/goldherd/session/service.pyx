"""One connection is served, whatever carries its bytes: the only caller of a driver's two functions.

Work off what is ready, receive once, act on every whole PDU, send all answers with one call. A connection whose
socket is full is not read from until it has drained: TCP then slows the peer down.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove
from posix.uio cimport iovec

from goldherd.native.limits cimport RECEIVE_BYTES, SERVICE_BYTES_MAX, STALLED_BYTES_MAX
from goldherd.native.sanitizer cimport poison, unpoison
from goldherd.session.codes cimport CLOSE_MEMORY, CLOSE_PEER, STEP_COMMANDS, STEP_RECEIVE, STEP_SEND
from goldherd.session.core cimport INPUT_BYTES, STREAM_EMPTY, STREAM_ENDED, turn_to
from goldherd.session.receive cimport consume, sink_place, sink_received
from goldherd.session.backlog cimport clear_batch, keep_residue, keep_rest, pending_sent
from goldherd.session.tasks cimport send_queued

cdef enum Sent:
    SENT_ALL = 0
    SENT_PART = 1
    SENT_NEVER = 2          # the connection is to be closed


cdef int flush(Core* core, Connection* c) noexcept nogil:
    """Sends the batch; what the socket does not take stays with the connection."""
    cdef uint64_t total = core.batch.bytes
    cdef ssize_t sent
    cdef bint kept
    if total == 0:
        return SENT_ALL
    turn_to(core, STEP_SEND)
    sent = core.send_some(core, c, core.batch.iov, core.batch.count)
    turn_to(core, STEP_COMMANDS)
    core.counters.sends += 1
    if sent == <ssize_t>total:
        clear_batch(core)
        return SENT_ALL
    if sent < 0:
        clear_batch(core)
        c.reason = CLOSE_PEER
        return SENT_NEVER
    kept = keep_rest(core, c, <uint64_t>sent)
    clear_batch(core)
    if not kept:
        c.reason = CLOSE_MEMORY
        return SENT_NEVER
    c.stuck_ms = core.now_ms
    return SENT_PART


cdef int flush_pending(Core* core, Connection* c) noexcept nogil:
    cdef ssize_t sent
    while c.pending != NULL:
        turn_to(core, STEP_SEND)
        sent = core.send_some(core, c, c.pending.iov + c.pending.first, c.pending.count - c.pending.first)
        turn_to(core, STEP_COMMANDS)
        core.counters.sends += 1
        if sent < 0:
            c.reason = CLOSE_PEER
            return SENT_NEVER
        if sent == 0:
            return SENT_PART
        c.stuck_ms = core.now_ms
        pending_sent(c, <uint64_t>sent)
    c.stuck_ms = 0
    return SENT_ALL


cdef ssize_t receive(Core* core, Connection* c, uint32_t behind) noexcept nogil:
    """Receives once, into the sink first; returns bytes placed at core.receive + behind, or STREAM_..."""
    cdef iovec iov[2]
    cdef uint8_t* place
    cdef uint32_t room = 0
    cdef int count = 0
    cdef ssize_t got
    if c.sink_left:
        sink_place(core, c, &place, &room)
        iov[0].iov_base = place
        iov[0].iov_len = room
        count = 1
    if room == c.sink_left:         # what comes behind the data of the sink, or everything
        iov[count].iov_base = core.receive + behind
        iov[count].iov_len = RECEIVE_BYTES
        count += 1
    turn_to(core, STEP_RECEIVE)
    got = core.receive_some(core, c, iov, count)
    turn_to(core, STEP_COMMANDS)
    core.counters.receives += 1
    if got < 0:
        return got
    if room:
        if <uint32_t>got <= room:
            sink_received(core, c, <uint32_t>got)
            return 0
        sink_received(core, c, room)
        return got - room
    return got


cdef inline void received_until(Core* core, const uint8_t* end) noexcept nogil:
    """The bytes behind those that have come may not be read: they were another connection's."""
    unpoison(core.receive, end - core.receive)
    poison(end, core.receive + INPUT_BYTES - end)


cdef int leave(Connection* c, const uint8_t* rest, uint32_t length, bint whole, int result) noexcept nogil:
    if not keep_residue(c, rest, length, whole):
        c.reason = CLOSE_MEMORY
        return SERVICE_OVER
    return result


cdef int serve_connection(Core* core, Connection* c, bint readable) noexcept nogil:
    cdef uint8_t* here = core.receive
    cdef uint32_t have = c.residue_bytes
    cdef uint64_t sent_bytes = 0
    cdef ssize_t got
    cdef int sent
    cdef bint needs_input = not c.residue_whole
    cdef bint full
    cdef uint32_t used
    if c.pending != NULL:
        sent = flush_pending(core, c)
        if sent == SENT_NEVER:
            return SERVICE_OVER
        if sent == SENT_PART:
            return SERVICE_BLOCKED
    received_until(core, here + have)
    if have:
        memcpy(here, c.residue, have)
    while True:
        if c.send_first != NULL:
            send_queued(core, c)
        if not needs_input and c.send_first == NULL and not c.closing:
            used = consume(core, c, here, have, &needs_input)
            here += used
            have -= used
        full = c.send_first != NULL or not needs_input
        if core.batch.bytes and (full or c.closing or not readable):
            sent_bytes += core.batch.bytes
            sent = flush(core, c)
            if sent == SENT_NEVER:
                return SERVICE_OVER
            if sent == SENT_PART:       # a last word is waited for too, as long as the peer takes any bytes
                return leave(c, here, have, not needs_input, SERVICE_BLOCKED)
        if c.closing:
            return SERVICE_OVER
        if full:
            if sent_bytes >= SERVICE_BYTES_MAX:
                return leave(c, here, have, not needs_input, SERVICE_AGAIN)
            continue
        if not readable:
            return leave(c, here, have, False, SERVICE_IDLE)
        if c.stalled and have >= <uint32_t>STALLED_BYTES_MAX:
            return leave(c, here, have, False, SERVICE_PAUSED)
        readable = False            # once per service: the driver tells when there is more
        if have and here != core.receive:
            memmove(core.receive, here, have)
        here = core.receive
        received_until(core, here + INPUT_BYTES)
        got = receive(core, c, have)
        if got == STREAM_ENDED:
            flush(core, c)          # it may only have stopped sending: what is ready is still worth a try
            c.reason = CLOSE_PEER
            return SERVICE_OVER
        if got != STREAM_EMPTY:
            have += <uint32_t>got
            c.input_ms = core.now_ms
            needs_input = False
        received_until(core, here + have)
