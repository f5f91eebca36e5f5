"""The control plane's letter box: what reactors have to say, as tuples for Python.

One box serves all reactors; its descriptor becomes readable when there is something to collect.
"""

from typing import NamedTuple

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport free

from goldherd.session.messages cimport (
    LETTER_CLOSED, LETTER_COMMAND, LETTER_DONE, LETTER_FAILED, LETTER_NUMBERED, LETTER_REQUEST, Letter, close_box,
    collect, open_box)


class CommandLetter(NamedTuple):
    """A command to carry out; exactly one reply must be given, even when its session is being aborted."""

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
    """A PDU for the control plane: its basic header and its data segment."""

    token: int
    tag: int
    header: bytes
    data: bytes
    serial: int
    link: int


class ClosedLetter(NamedTuple):
    """A connection is gone, and nothing of it is in use by the reactor any more; `last`: nor of its session."""

    token: int
    reason: int
    link: int
    last: bool


class NumberedLetter(NamedTuple):
    """Where the numbering of a session stands: ExpCmdSN and MaxCmdSN; None when there is no such session."""

    fence: int
    numbers: tuple | None


class DoneLetter(NamedTuple):
    """An abort or a fence is complete; `found` tasks were ended."""

    fence: int
    found: int


cdef class Outbox:
    """The control plane's letter box."""

    def __cinit__(self) -> None:
        self.box.eventfd = -1
        open_box(&self.box)

    def __dealloc__(self) -> None:
        close_box(&self.box)

    def fileno(self) -> int:
        """Readable when letters wait."""
        return self.box.eventfd

    def collect(self) -> list:
        """All letters in order of arrival."""
        cdef Letter* letter = collect(&self.box)
        cdef Letter* following
        found = []
        while letter != NULL:
            following = letter.next
            try:
                found.append(translate(letter))
            finally:
                free(letter)
            letter = following
        return found


cdef object translate(Letter* letter):
    payload = PyBytes_FromStringAndSize(<char*>letter.payload, letter.bytes)
    if letter.kind == LETTER_COMMAND:
        return CommandLetter(letter.token, letter.tag, letter.itt, letter.number, (<char*>letter.lun)[:8],
                             (<char*>letter.cdb)[:16], payload, letter.value, letter.serial, letter.link)
    if letter.kind == LETTER_FAILED:
        return FailedLetter(letter.token, letter.tag, letter.number, letter.status, letter.value,
                            (<char*>letter.cdb)[:16])
    if letter.kind == LETTER_REQUEST:
        return RequestLetter(letter.token, letter.tag, payload[:48], payload[48:], letter.serial, letter.link)
    if letter.kind == LETTER_CLOSED:
        return ClosedLetter(letter.token, letter.value, letter.link, bool(letter.last))
    if letter.kind == LETTER_DONE:
        return DoneLetter(letter.token, letter.value)
    if letter.kind == LETTER_NUMBERED:
        return NumberedLetter(letter.token, (letter.number, letter.value) if letter.tag else None)
    raise AssertionError(f"a letter of kind {letter.kind} is not for Python")
