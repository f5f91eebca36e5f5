"""Events of the reactors for the control plane: messages, read as tuples for Python.

One queue serves all reactors; its descriptor becomes readable when there is something to collect.
"""

from typing import NamedTuple

from goldherd.session.codes import CloseReason, Purpose
from goldherd.session.messages cimport (
    ClosedMessage, CommandMessage, DoneMessage, FailedMessage, MESSAGE_CLOSED, MESSAGE_COMMAND, MESSAGE_DONE,
    MESSAGE_FAILED, MESSAGE_NUMBERED, MESSAGE_REQUEST, Message, NumberedMessage, RequestMessage, close_queue, collect,
    free_message, open_queue)


class CommandEvent(NamedTuple):
    """A command to carry out; exactly one reply must be given, even when its session is being aborted."""

    session_id: int
    tag: int
    itt: int
    nexus: int
    lun: bytes
    cdb: bytes
    data_out: bytes
    expected: int
    serial: int
    connection: int


class FailedEvent(NamedTuple):
    """The I/O of a task failed with an errno; a reply gives it status and sense."""

    session_id: int
    tag: int
    nexus: int
    purpose: Purpose
    errno: int
    cdb: bytes


class RequestEvent(NamedTuple):
    """A PDU for the control plane: its basic header and its data segment."""

    session_id: int
    tag: int
    header: bytes
    data: bytes
    serial: int
    connection: int


class ClosedEvent(NamedTuple):
    """A connection is gone, and nothing of it is in use by the reactor any more; `last`: nor of its session."""

    session_id: int
    reason: CloseReason
    connection: int
    last: bool


class NumberedEvent(NamedTuple):
    """Where the numbering of a session stands: ExpCmdSN and MaxCmdSN; None when there is no such session."""

    request_id: int
    numbers: tuple | None


class DoneEvent(NamedTuple):
    """An abort or a drain is complete; `found` tasks were ended."""

    request_id: int
    found: int


Event = CommandEvent | FailedEvent | RequestEvent | ClosedEvent | DoneEvent | NumberedEvent


cdef class EventQueue:
    """The queue of events from all reactors."""

    def __cinit__(self) -> None:
        self.queue.eventfd = -1
        open_queue(&self.queue)

    def __dealloc__(self) -> None:
        close_queue(&self.queue)

    def fileno(self) -> int:
        """Readable when events wait."""
        return self.queue.eventfd

    def collect(self) -> list:
        """All events in order of arrival."""
        cdef Message* message = collect(&self.queue)
        cdef Message* following
        found = []
        while message != NULL:
            following = message.next
            try:
                found.append(translate(message))
            finally:
                free_message(message)
            message = following
        return found


# --- one reader per kind of message ---

cdef object command_event(CommandMessage* m):
    cdef const char* data = m.taken if m.taken != NULL else m.data
    return CommandEvent(m.session_id, m.tag, m.itt, m.nexus, (<char*>m.lun)[:8], (<char*>m.cdb)[:16],
                        data[:m.data_bytes], m.expected, m.serial, m.connection)


cdef object failed_event(FailedMessage* m):
    return FailedEvent(m.session_id, m.tag, m.nexus, Purpose(m.purpose), m.error, (<char*>m.cdb)[:16])


cdef object request_event(RequestMessage* m):
    return RequestEvent(m.session_id, m.tag, (<char*>m.header)[:48], m.data[:m.data_bytes], m.serial, m.connection)


cdef object closed_event(ClosedMessage* m):
    return ClosedEvent(m.session_id, CloseReason(m.reason), m.connection, bool(m.last))


cdef object done_event(DoneMessage* m):
    return DoneEvent(m.request_id, m.found)


cdef object numbered_event(NumberedMessage* m):
    return NumberedEvent(m.request_id, (m.exp_cmd_sn, m.max_cmd_sn) if m.known else None)


cdef object translate(Message* message):
    if message.kind == MESSAGE_COMMAND:
        return command_event(<CommandMessage*>message)
    if message.kind == MESSAGE_FAILED:
        return failed_event(<FailedMessage*>message)
    if message.kind == MESSAGE_REQUEST:
        return request_event(<RequestMessage*>message)
    if message.kind == MESSAGE_CLOSED:
        return closed_event(<ClosedMessage*>message)
    if message.kind == MESSAGE_DONE:
        return done_event(<DoneMessage*>message)
    if message.kind == MESSAGE_NUMBERED:
        return numbered_event(<NumberedMessage*>message)
    raise AssertionError(f"a message of kind {message.kind} is not for Python")
