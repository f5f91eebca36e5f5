"""Digests that are wrong (RFC 7143 7.8, ErrorRecoveryLevel 0)."""

import errno
from collections.abc import Callable

import pytest
from goldherd.block.file import FileImage
from goldherd.reactor.events_out import ClosedEvent, FailedEvent
from goldherd.session.codes import CloseReason
from goldherd.wire.opcodes import Opcode, RejectReason

from tests.session.conftest import PATTERN
from tests.session.initiator import Initiator, data_of, only

Login = Callable[..., Initiator]


def damaged(pdu: bytes, at: int) -> bytes:
    """The PDU with one bit changed."""
    return pdu[:at] + bytes([pdu[at] ^ 1]) + pdu[at + 1 :]


@pytest.mark.parametrize("at", [0, 1, 7, 20, 47, 48, 51])
def test_a_header_digest_error_closes_the_connection(login: Login, at: int) -> None:
    initiator = login(header_digest=True)
    initiator.reactor.receive(initiator.session_id, damaged(initiator.read(0, 1), at))
    assert not initiator.open
    assert ClosedEvent(initiator.session_id, CloseReason.CLOSE_DIGEST, 0, True) in initiator.post()


def test_a_header_digest_covers_additional_header_segments(login: Login) -> None:
    initiator = login(header_digest=True)
    initiator.send(damaged(initiator.command(b"\x00", ahs=bytes(8)), 50))
    assert not initiator.open


@pytest.mark.parametrize("length", [512, 4096, 8192, 65536])
@pytest.mark.parametrize("cut", [0, 100])
def test_damaged_immediate_data_is_rejected_and_fails_the_command(login: Login, length: int, cut: int) -> None:
    initiator = login(data_digest=True)
    segment = damaged(initiator.write(0, b"x" * length), 60)
    pdus = initiator.send(segment[:cut]) + initiator.send(segment[cut:])
    reject = only(pdus)
    assert (reject.opcode, reject.reason) == (Opcode.REJECT, RejectReason.REJECT_DATA_DIGEST)
    assert reject.data == segment[:48]
    event = initiator.event(FailedEvent)
    assert event.errno == errno.EBADMSG
    assert only(initiator.reply(event, 2, b"sense", written=0)).residual_of == ("U", length)
    assert data_of(initiator.status(initiator.read(0, 1))) == PATTERN[:512]  # nothing reached the disk


@pytest.mark.parametrize("length", [512, 16384])
def test_a_damaged_data_out_fails_its_task(login: Login, length: int) -> None:
    initiator = login(data_digest=True)
    r2t = only(initiator.send(initiator.write(0, b"x" * length, sent=0, itt=5)))
    segment = damaged(initiator.data_out(5, 0, b"x" * length, ttt=r2t.ttt), 60)
    assert only(initiator.send(segment[:70]) + initiator.send(segment[70:])).reason == RejectReason.REJECT_DATA_DIGEST
    event = initiator.event(FailedEvent)
    assert event.errno == errno.EBADMSG
    assert only(initiator.reply(event, 2, b"sense", written=0)).status == 2
    assert data_of(initiator.status(initiator.read(0, 1))) == PATTERN[:512]


def test_a_damaged_ping_is_rejected_and_not_answered(login: Login) -> None:
    initiator = login(data_digest=True)
    assert only(initiator.send(damaged(initiator.other(Opcode.NOP_OUT, data=b"ping"), 49))).reason == 2
    assert only(initiator.send(initiator.other(Opcode.NOP_OUT, data=b"ping"))).data == b"ping"


def test_damaged_padding_is_a_data_digest_error(login: Login) -> None:
    initiator = login(data_digest=True)
    assert only(initiator.send(damaged(initiator.other(Opcode.NOP_OUT, data=b"12345"), 54))).reason == 2


def test_a_flood_of_damaged_immediate_commands_takes_no_more_places_than_good_ones(login: Login) -> None:
    initiator = login(data_digest=True)
    pdus = []
    for _ in range(400):
        pdus += initiator.send(damaged(initiator.write(0, b"x" * 512, immediate=True), 60))
    assert {pdu.reason for pdu in pdus} == {2}
    assert initiator.reactor.live_tasks == 160
    for event in initiator.post():
        initiator.reply(event, 2, b"sense")


def test_file_mappings_are_copied_before_a_digest_is_made(login: Login, disk: FileImage) -> None:
    """A mapping that somebody cuts short must not end the process: it is read like a file."""
    initiator = login(data_digest=True)
    assert data_of(initiator.status(initiator.read(3, 1000))) == PATTERN[1536:][:512000]
    with open(disk.path, "r+b") as file:  # noqa: PTH123
        file.truncate(4096)
    initiator.send(initiator.read(16, 8))
    initiator.settle()
    event = initiator.event(FailedEvent)
    assert event.errno == errno.EIO
    initiator.reply(event, 2, b"sense")
