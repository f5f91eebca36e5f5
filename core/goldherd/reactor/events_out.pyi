"""Signatures of events_out.pyx; the contracts stand there."""

from typing import NamedTuple

from goldherd.session.codes import CloseReason, Purpose

class CommandEvent(NamedTuple):
    """A command to carry out; exactly one reply must be given."""

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
    """A PDU for the control plane."""

    session_id: int
    tag: int
    header: bytes
    data: bytes
    serial: int
    connection: int

class ClosedEvent(NamedTuple):
    """A connection is gone, and nothing of it is in use any more; `last`: nor of its session."""

    session_id: int
    reason: CloseReason
    connection: int
    last: bool

class DoneEvent(NamedTuple):
    """An abort or a drain is complete."""

    request_id: int
    found: int

class NumberedEvent(NamedTuple):
    """Where the numbering of a session stands."""

    request_id: int
    numbers: tuple[int, int] | None

Event = CommandEvent | FailedEvent | RequestEvent | ClosedEvent | DoneEvent | NumberedEvent

class EventQueue:
    """The queue of events from all reactors."""

    def fileno(self) -> int: ...
    def collect(self) -> list[Event]: ...
