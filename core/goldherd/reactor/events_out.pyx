"""Events of the reactors for the control plane: messages, read as tuples for Python.

One queue serves all reactors; its descriptor becomes readable when there is something to collect.
"""

from typing import NamedTuple

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport free

from goldherd.session.messages cimport (
    MESSAGE_CLOSED, MESSAGE_COMMAND, MESSAGE_DONE, MESSAGE_FAILED, MESSAGE_NUMBERED, MESSAGE_REQUEST, Message, close_queue,
    collect, open_queue)


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
    purpose: int
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
    reason: int
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
                free(message)
            message = following
        return found


cdef object translate(Message* message):
    payload = PyBytes_FromStringAndSize(<char*>message.payload, message.bytes)
    if message.kind == MESSAGE_COMMAND:
        return CommandEvent(message.session_id, message.tag, message.itt, message.number, (<char*>message.lun)[:8],
                             (<char*>message.cdb)[:16], payload, message.value, message.serial, message.connection)
    if message.kind == MESSAGE_FAILED:
        return FailedEvent(message.session_id, message.tag, message.number, message.status, message.value,
                            (<char*>message.cdb)[:16])
    if message.kind == MESSAGE_REQUEST:
        return RequestEvent(message.session_id, message.tag, payload[:48], payload[48:], message.serial, message.connection)
    if message.kind == MESSAGE_CLOSED:
        return ClosedEvent(message.session_id, message.value, message.connection, bool(message.last))
    if message.kind == MESSAGE_DONE:
        return DoneEvent(message.session_id, message.value)
    if message.kind == MESSAGE_NUMBERED:
        return NumberedEvent(message.session_id, (message.number, message.value) if message.tag else None)
    raise AssertionError(f"a message of kind {message.kind} is not for Python")
