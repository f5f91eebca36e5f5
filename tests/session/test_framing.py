"""PDUs out of a byte stream, wherever it is cut (RFC 7143 11.2)."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from goldherd.block.file import FileImage
from goldherd.wire.opcodes import Opcode

from tests.session.conftest import PATTERN
from tests.session.initiator import FAST, READ, Initiator, Pdu, cdb_read, data_of, only

Login = Callable[..., Initiator]
DIGESTS = [{}, {"header_digest": True}, {"data_digest": True}, {"header_digest": True, "data_digest": True}]


def conversation(initiator: Initiator) -> bytes:
    """A ping with data that needs padding, a write with immediate data, a read."""
    return initiator.other(Opcode.NOP_OUT, data=b"12345") + initiator.write(1, b"w" * 512) + initiator.read(0, 2)


def check(pdus: list[Pdu]) -> None:
    """The answers to the conversation."""
    ping, written, read = pdus
    assert (ping.opcode, ping.data) == (Opcode.NOP_IN, b"12345")
    assert (written.opcode, written.status) == (Opcode.SCSI_RESPONSE, 0)
    assert (read.opcode, read.data) == (Opcode.DATA_IN, PATTERN[:512] + b"w" * 512)


@pytest.mark.parametrize("digests", DIGESTS)
def test_pdus_cut_in_two_at_every_byte(login: Login, digests: dict[str, bool]) -> None:
    initiator = login(**digests)
    stream = conversation(initiator)
    check(initiator.send(stream))
    for at in range(1, len(stream)):
        stream = conversation(initiator)
        check(initiator.send(stream[:at]) + initiator.send(stream[at:]))


@pytest.mark.parametrize("digests", DIGESTS)
def test_pdus_that_come_byte_by_byte(login: Login, digests: dict[str, bool]) -> None:
    initiator = login(**digests)
    stream = conversation(initiator)
    check([pdu for byte in stream for pdu in initiator.send(bytes([byte]))])


@pytest.mark.parametrize("digests", DIGESTS)
@pytest.mark.parametrize("length", [8192, 12288, 131072])
def test_long_immediate_data_cut_at_edges(login: Login, digests: dict[str, bool], length: int) -> None:
    initiator = login(**digests)
    data = PATTERN[1000 : 1000 + length]
    size = len(initiator.write(0, data))
    initiator.cmd_sn -= 1
    edges = {48, 52, 49, 53, 1000, 8191, 8192, size // 2, size - 9, size - 5, size - 4, size - 1}
    for cut in sorted(edges):
        stream = initiator.write(0, data)
        pdus = initiator.send(stream[:cut])
        assert not pdus
        pdus = initiator.until(bool, stream[cut:])
        assert only(pdus).status == 0
        assert data_of(initiator.status(initiator.read(0, length // 512))) == data


def test_long_immediate_data_in_many_segments(login: Login) -> None:
    initiator = login(data_digest=True, header_digest=True)
    stream = initiator.write(8, PATTERN[:65536]) + initiator.read(8, 128) + initiator.other(Opcode.NOP_OUT)
    cuts = [*range(0, len(stream), 777), len(stream)]
    pdus = [pdu for begin, end in pairwise(cuts) for pdu in initiator.send(stream[begin:end])]
    assert [pdu.opcode for pdu in pdus] == [Opcode.SCSI_RESPONSE, Opcode.DATA_IN, Opcode.NOP_IN]
    assert pdus[1].data == PATTERN[:65536]


def test_many_pdus_in_one_segment_are_answered_in_order(login: Login) -> None:
    initiator = login()
    pdus = initiator.send(b"".join(initiator.read(lba, 1) for lba in range(128)))
    assert [pdu.data for pdu in pdus] == [PATTERN[lba * 512 :][:512] for lba in range(128)]


def test_bytes_behind_the_login_are_the_first_command(disk: FileImage) -> None:
    before = Initiator([disk])
    segment = before.read(0, 1)
    later = Initiator([disk], reactor=before.reactor, session_id=8, units=before.units)
    later.reactor.connect(9, FAST, dict(enumerate(later.nexuses)), residual=segment)
    assert later.reactor.sent(9)[48:] == PATTERN[:512]


@pytest.mark.parametrize("ahs_words", [1, 6, 255])
def test_additional_header_segments_are_stepped_over(login: Login, ahs_words: int) -> None:
    initiator = login(header_digest=True)
    segment = initiator.command(cdb_read(0, 1), expected=512, flags=READ, ahs=bytes(4 * ahs_words))
    assert not initiator.send(segment[:50])
    read, ping = initiator.send(segment[50:] + initiator.other(Opcode.NOP_OUT))
    assert (read.data, ping.opcode) == (PATTERN[:512], Opcode.NOP_IN)


@pytest.mark.parametrize("opcode", [Opcode.SCSI_COMMAND, Opcode.DATA_OUT, Opcode.NOP_OUT, Opcode.TEXT_REQUEST])
def test_a_data_segment_above_what_we_declared_is_refused_at_its_header(login: Login, opcode: int) -> None:
    initiator = login(max_recv_data_segment=8192)
    header = bytearray(initiator.other(opcode)[:48])
    header[5:8] = (8193).to_bytes(3, "big")
    reject = only(initiator.send(bytes(header)))
    assert (reject.opcode, reject.reason, reject.data) == (Opcode.REJECT, 4, bytes(header))
    assert not initiator.open


def test_a_data_segment_of_16_mib_is_not_waited_for(login: Login) -> None:
    initiator = login()
    header = bytearray(initiator.other(Opcode.NOP_OUT)[:48])
    header[5:8] = b"\xff\xff\xff"
    assert only(initiator.send(bytes(header))).opcode == Opcode.REJECT
    assert not initiator.open


def test_the_end_of_the_stream_inside_a_pdu_ends_the_session(login: Login) -> None:
    initiator = login()
    initiator.send(initiator.write(0, PATTERN[:65536])[:10000])
    initiator.reactor.hang_up(initiator.session_id)
    assert not initiator.open
    assert [type(event).__name__ for event in initiator.post()] == ["ClosedEvent"]


@pytest.mark.parametrize("ahs", [b"", bytes(4), bytes(range(256)) * 3 + bytes(252)])
def test_a_reject_carries_the_whole_header(login: Login, ahs: bytes) -> None:
    """RFC 7143 11.17: the "complete header" of the PDU, additional segments and all."""
    initiator = login()
    refused = initiator.pdu(bytes([0x1C | 0x40]) + bytes(47), ahs=ahs)
    assert only(initiator.send(refused)).data == refused[: 48 + len(ahs)]


@pytest.mark.parametrize(("segment", "length"), [(512, 48), (1536, 1068)])
def test_a_reject_is_no_longer_than_the_initiator_takes(login: Login, segment: int, length: int) -> None:
    """Its MaxRecvDataSegmentLength is for every data segment (RFC 7143 13.12)."""
    initiator = login(max_send_data_segment=segment)
    refused = initiator.pdu(bytes([0x1C | 0x40]) + bytes(47), ahs=bytes(1020))
    assert only(initiator.send(refused)).data == refused[:length]


def test_a_reject_of_a_header_that_is_not_all_here(login: Login) -> None:
    """The length alone condemns it; its additional segments are not waited for."""
    initiator = login(max_recv_data_segment=512)
    refused = bytearray(initiator.pdu(bytes(48), bytes(8192), ahs=bytes(1020))[:60])
    assert only(initiator.send(bytes(refused))).data == refused[:48]
    assert not initiator.open
