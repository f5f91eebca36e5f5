"""The order of commands when a session has several connections (RFC 7143 4.2.2.1)."""

from libc.stdint cimport uint8_t, uint32_t

from goldherd.native.endian cimport get32
from goldherd.session.core cimport Core
from goldherd.session.state cimport Connection, Session, in_window
from goldherd.wire.opcodes cimport DATA_OUT, IMMEDIATE, OPCODE_MASK, SNACK_REQUEST, TASK_MANAGEMENT_REQUEST
from goldherd.wire.pdu cimport CMD_SN, FLAGS, before

# A number was counted while a connection was stalled or numbers were skipped: goes on behind the gap.
cdef void catch_up(Core* core, Session* session) noexcept nogil
# The connection's next PDU, with this CmdSN, must wait for the commands before it.
cdef void stall(Core* core, Connection* connection, uint32_t cmd_sn) noexcept nogil
cdef void stop_stalling(Connection* connection) noexcept nogil
# Whether a PDU may be acted on although one before it on the same connection waits.
cdef bint need_not_wait(Connection* c, const uint8_t* header) noexcept nogil
# Whether a number that has not come counts as received from now on (ABORT TASK of a command that was lost).
cdef bint skip(Core* core, Session* session, uint32_t cmd_sn, uint32_t limit) noexcept nogil


cdef inline void count_command(Core* core, Session* session) noexcept nogil:
    """The command with the next number is here."""
    session.exp_cmd_sn += 1
    if session.waiting:
        catch_up(core, session)


cdef inline bint out_of_order(Session* session, const uint8_t* header) noexcept nogil:
    """Whether a PDU comes before one that it must follow. Only asked of sessions that had several connections.

    Immediate commands need not wait, but for task management of many tasks: those of all numbers before its own are
    meant, so they must have come first (RFC 7143 4.2.3.3).
    """
    cdef int opcode = header[0] & OPCODE_MASK
    cdef int function
    cdef uint32_t cmd_sn
    if opcode == DATA_OUT or opcode >= SNACK_REQUEST:
        return False                        # these carry no number of their own
    if header[0] & IMMEDIATE:
        function = header[FLAGS] & 0x7F
        if opcode != TASK_MANAGEMENT_REQUEST or not (function == 2 or 4 <= function <= 7):
            return False
    cmd_sn = get32(header + CMD_SN)
    return before(session.exp_cmd_sn, cmd_sn) and in_window(session, cmd_sn)
