"""The order of commands when a session has several connections (RFC 7143 4.2.2.1).

Theory of operation. Commands are numbered through the whole session, and one connection may bring number 7 before
another brings number 6. They are delivered in order all the same: a connection whose next command comes too early is
*stalled*. Its bytes stay where they are, bounded by STALLED_BYTES_MAX (then it is no longer read from, and TCP slows
the initiator down), until the numbers before have come. What need not wait passes by the command that must: immediate
commands, and Data-Out of tasks that are under way. An initiator sends the numbers of one connection in rising order,
so a stalled connection never keeps back the command that the others wait for.

A command that was lost with its connection never comes. ABORT TASK then names its number, which counts as received
from there on (11.5.1); without that the gap ends the session after GAP_SECONDS.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from goldherd.native.limits cimport COMMAND_WINDOW
from goldherd.session.memory cimport known_task
from goldherd.session.queues cimport run_soon
from goldherd.wire.opcodes cimport RESERVED_TAG
from goldherd.wire.pdu cimport ITT, TTT


# --- numbers that count as received ---

cdef inline uint64_t* word_of(Session* session, uint32_t cmd_sn) noexcept nogil:
    return &session.skipped[(cmd_sn % <uint32_t>COMMAND_WINDOW) >> 6]


cdef inline uint64_t bit_of(uint32_t cmd_sn) noexcept nogil:
    return <uint64_t>1 << (cmd_sn & 63)


cdef bint skip(Core* core, Session* session, uint32_t cmd_sn, uint32_t limit) noexcept nogil:
    """The number must lie in the window and before `limit`, the CmdSN of the request that names it."""
    if not in_window(session, cmd_sn) or not before(cmd_sn, limit):
        return False
    if not word_of(session, cmd_sn)[0] & bit_of(cmd_sn):
        word_of(session, cmd_sn)[0] |= bit_of(cmd_sn)
        session.waiting += 1
    catch_up(core, session)
    return True


cdef void catch_up(Core* core, Session* session) noexcept nogil:
    cdef Connection* c = session.first
    cdef uint64_t* word = word_of(session, session.exp_cmd_sn)
    while word[0] & bit_of(session.exp_cmd_sn):
        word[0] &= ~bit_of(session.exp_cmd_sn)
        session.waiting -= 1
        session.exp_cmd_sn += 1
        word = word_of(session, session.exp_cmd_sn)
    while c != NULL:
        if c.stalled and not before(session.exp_cmd_sn, c.stalled_at):
            stop_stalling(c)
            c.residue_whole = True
            run_soon(core, c)
        c = c.sibling


# --- connections that wait ---

cdef void stall(Core* core, Connection* connection, uint32_t cmd_sn) noexcept nogil:
    if not connection.stalled:
        connection.stalled = True
        connection.stalled_ms = core.now_ms
        connection.session.waiting += 1
        core.counters.stalls += 1
    connection.stalled_at = cmd_sn


cdef void stop_stalling(Connection* connection) noexcept nogil:
    if connection.stalled:
        connection.stalled = False
        connection.session.waiting -= 1


cdef bint need_not_wait(Connection* c, const uint8_t* header) noexcept nogil:
    cdef uint32_t itt
    if header[0] & OPCODE_MASK == DATA_OUT:
        if get32(header + TTT) != <uint32_t>RESERVED_TAG:
            return True
        memcpy(&itt, header + ITT, 4)       # unsolicited: of a task under way, or of the command that waits
        return known_task(c.session, itt) != NULL
    return header[0] & IMMEDIATE and not out_of_order(c.session, header)
