"""Signatures of outbox.pyx."""

from typing import NamedTuple

class CommandLetter(NamedTuple):
    """A command to carry out; exactly one reply must be given."""

    token: int
    tag: int
    itt: int
    nexus: int
    lun: bytes
    cdb: bytes
    data_out: bytes
    expected: int
    serial: int
    link: int

class FailedLetter(NamedTuple):
    """The I/O of a task failed with an errno; a reply gives it status and sense."""

    token: int
    tag: int
    nexus: int
    purpose: int
    errno: int
    cdb: bytes

class RequestLetter(NamedTuple):
    """A PDU for the control plane."""

    token: int
    tag: int
    header: bytes
    data: bytes
    serial: int
    link: int

class ClosedLetter(NamedTuple):
    """A connection is gone, and nothing of it is in use any more; `last`: nor of its session."""

    token: int
    reason: int
    link: int
    last: bool

class DoneLetter(NamedTuple):
    """An abort or a fence is complete."""

    fence: int
    found: int

class NumberedLetter(NamedTuple):
    """Where the numbering of a session stands."""

    fence: int
    numbers: tuple[int, int] | None

Letter = CommandLetter | FailedLetter | RequestLetter | ClosedLetter | DoneLetter | NumberedLetter

class Outbox:
    """The control plane's letter box."""

    def fileno(self) -> int: ...
    def collect(self) -> list[Letter]: ...
