"""Data-Out that nobody asked for, or not like this (RFC 7143 4.2.5, 11.7, 11.8): what kills tgtd is among it.

Each case writes into blocks 0 to 15; afterwards no byte behind them may have changed.
"""

from dataclasses import dataclass
from dataclasses import field as default
from typing import Any, Final

import pytest

from tests.hostile import wire
from tests.hostile.client import Client, Gone
from tests.hostile.field import BLOCK_BYTES, WRITTEN, Field, pattern
from tests.hostile.wire import FINAL, NO_TAG, pdu

BLOCKS: Final = 16
WRITE_BYTES: Final = BLOCKS * BLOCK_BYTES
ABORTED: Final = 0x0B
GUARD_BLOCKS: Final = 64


@dataclass(frozen=True)
class Piece:
    """One Data-Out PDU: its data, and what differs from the right header."""

    data: bytes = bytes(WRITE_BYTES)
    fields: dict[str, int] = default(default_factory=dict)
    flags: int = FINAL


@dataclass(frozen=True)
class Write:
    """A WRITE(10) of 16 blocks, and the Data-Out after its R2T."""

    pieces: tuple[Piece, ...]
    fails: bool = True
    """Whether the task ends with sense key 0Bh; else the status is GOOD."""


def halves(**second: int) -> tuple[Piece, Piece]:
    """A burst in two PDUs, of which the second is wrong."""
    half = bytes(WRITE_BYTES // 2)
    return Piece(half, flags=0), Piece(half, {"data_sn": 1, "buffer_offset": WRITE_BYTES // 2} | second)


WRITES: Final = {
    "as it should be": Write((Piece(),), fails=False),
    "in two PDUs": Write(halves(), fails=False),
    "crosses the end of the R2T by 4 bytes": Write((Piece(bytes(WRITE_BYTES + 4)),)),
    "crosses the end of the R2T by one block": Write((Piece(bytes(WRITE_BYTES + 512)),)),
    "exceeds the R2T many times": Write((Piece(bytes(262144)),)),
    "second PDU crosses the end": Write(
        (Piece(bytes(WRITE_BYTES // 2), flags=0), Piece(fields={"data_sn": 1, "buffer_offset": WRITE_BYTES // 2}))
    ),
    "goes on after F": Write((Piece(), Piece(fields={"data_sn": 1, "buffer_offset": WRITE_BYTES})), fails=False),
    "buffer offset 4": Write((Piece(fields={"buffer_offset": 4}),)),
    "buffer offset behind the R2T": Write((Piece(fields={"buffer_offset": WRITE_BYTES}),)),
    "buffer offset FFFFFFFFh": Write((Piece(fields={"buffer_offset": 0xFFFFFFFF}),)),
    "buffer offset that wraps": Write((Piece(fields={"buffer_offset": 0xFFFFFFFF - WRITE_BYTES + 1}),)),
    "the same offset twice": Write(halves(buffer_offset=0)),
    "a hole between two PDUs": Write(halves(buffer_offset=WRITE_BYTES // 2 + 512)),
    "DataSN starts at 1": Write((Piece(fields={"data_sn": 1}),)),
    "DataSN FFFFFFFFh": Write((Piece(fields={"data_sn": 0xFFFFFFFF}),)),
    "DataSN twice": Write(halves(data_sn=0)),
    "DataSN leaves one out": Write(halves(data_sn=2)),
}
"""The first two show that the others are refused for their fault."""

IGNORED: Final = {
    "TTT of no task": {"ttt": 0x12345678},
    "TTT 0": {"ttt": 0},
    "TTT FFFFFFFEh": {"ttt": 0xFFFFFFFE},
    "reserved TTT after an R2T": {"ttt": NO_TAG},
    "Initiator Task Tag of no task": {"itt": 0x99999999},
    "reserved Initiator Task Tag": {"itt": NO_TAG},
}
"""Data-Out for no task: discarded (the task may have been aborted), and the write still waits."""


def begin(client: Client, **changes: int) -> tuple[int, wire.Answer]:
    """A WRITE(10) of 16 blocks at 0 up to its R2T; its tag and the R2T."""
    itt = client.next_tag()
    fields: dict[str, Any] = {"itt": itt, "edtl": WRITE_BYTES} | changes
    client.send(client.command_pdu(wire.cdb_write10(0, BLOCKS), flags=FINAL | wire.WRITE_BIT | 1, **fields))
    r2t = client.receive()
    assert r2t.opcode == wire.R2T
    return itt, r2t


def data_out(itt: int, ttt: int, piece: Piece) -> bytes:
    """One Data-Out PDU."""
    fields: dict[str, Any] = {"itt": itt, "ttt": ttt, "data_sn": 0, "buffer_offset": 0} | piece.fields
    return pdu(wire.DATA_OUT, piece.data, flags=piece.flags, **fields)


def check_guard(client: Client) -> None:
    """What lies behind the 16 blocks is as it was."""
    assert client.read(BLOCKS, GUARD_BLOCKS) == pattern(BLOCKS, GUARD_BLOCKS)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_data_out(field: Field, write: Write) -> None:
    with field.enter(WRITTEN) as client:
        itt, r2t = begin(client)
        for piece in write.pieces:
            client.send(data_out(itt, r2t.field("ttt"), piece))
        response = client.receive()
        assert (response.opcode, response.field("itt")) == (wire.RESPONSE, itt)
        assert response.sense[0] == (ABORTED if write.fails else 0)
        check_guard(client)


@pytest.mark.parametrize("fields", IGNORED.values(), ids=IGNORED)
def test_data_out_for_no_task(field: Field, fields: dict[str, int]) -> None:
    with field.enter(WRITTEN) as client:
        itt, r2t = begin(client)
        client.send(data_out(itt, r2t.field("ttt"), Piece(fields=fields)))
        assert client.until_pong() == [], "no answer, and the write still waits"
        client.send(data_out(itt, r2t.field("ttt"), Piece()))
        response = client.receive()
        assert (response.field("itt"), response.sense[0]) == (itt, 0)
        check_guard(client)


@pytest.mark.parametrize("count", [0, 4, 512, WRITE_BYTES - 4])
def test_f_before_the_r2t_is_filled(field: Field, count: int) -> None:
    """A new R2T for what is missing, or an error; never GOOD (RFC 7143 11.7)."""
    with field.enter(WRITTEN) as client:
        itt, r2t = begin(client)
        client.send(data_out(itt, r2t.field("ttt"), Piece(bytes(count))))
        answer = client.receive()
        assert answer.opcode == wire.R2T or answer.sense[0] == ABORTED


def test_empty_data_out_without_end(field: Field) -> None:
    with field.enter(WRITTEN) as client:
        itt, r2t = begin(client)
        for number in range(5000):
            client.send(data_out(itt, r2t.field("ttt"), Piece(b"", {"data_sn": number}, flags=0)))
        assert client.until_pong() == []


def test_data_out_of_another_session(field: Field) -> None:
    """The tags of one session mean nothing in another, even of the same reactor."""
    with field.enter(WRITTEN) as owner, field.enter(WRITTEN) as thief:
        itt, r2t = begin(owner)
        thief.send(data_out(itt, r2t.field("ttt"), Piece(b"\xee" * WRITE_BYTES)))
        assert thief.until_pong() == []
        assert owner.until_pong() == [], "the owner's write still waits"


def test_every_target_transfer_tag_of_the_first_slots(field: Field) -> None:
    with field.enter(WRITTEN) as owner, field.enter(WRITTEN) as thief:
        itt, _ = begin(owner)
        for slot in range(512):
            for generation in (0, 1, 2, 0xFFE, 0xFFF):
                piece = Piece(b"\xee" * 512)
                thief.send(data_out(itt, generation << 20 | slot, piece))
        assert thief.until_pong() == []
        assert owner.until_pong() == []


# --- unsolicited data ---

UNSOLICITED: Final[dict[str, Any]] = {"InitialR2T": "No", "ImmediateData": "Yes", "FirstBurstLength": "4096"}


def write_with(client: Client, data: bytes, *, flags: int = FINAL, blocks: int = BLOCKS) -> int:
    """A WRITE(10) with immediate data; its tag."""
    itt = client.next_tag()
    client.send(
        client.command_pdu(
            wire.cdb_write10(0, blocks), data, flags=flags | wire.WRITE_BIT | 1, itt=itt, edtl=blocks * 512
        )
    )
    return itt


@pytest.mark.parametrize("data", [4100, 8192, 65536], ids=["by 4 bytes", "by a page", "by far"])
def test_immediate_data_exceeds_first_burst(field: Field, data: int) -> None:
    with field.enter(WRITTEN, **UNSOLICITED) as client:
        write_with(client, bytes(data), blocks=128)
        assert client.receive().sense == (0x0B, 0x0C, 0x0C)
        check_guard(client)


def test_immediate_data_that_was_not_negotiated(field: Field) -> None:
    with field.enter(WRITTEN, ImmediateData="No") as client:
        write_with(client, bytes(512))
        assert client.receive().sense == (0x0B, 0x0C, 0x0C)
        check_guard(client)


def test_immediate_data_longer_than_the_expected_length(field: Field) -> None:
    with field.enter(WRITTEN) as client:
        write_with(client, bytes(1024), blocks=1)
        assert client.receive().sense == (0x0B, 0x0C, 0x0C)
        check_guard(client)


def test_unsolicited_data_out_that_was_not_negotiated(field: Field) -> None:
    with field.enter(WRITTEN, InitialR2T="Yes", ImmediateData="No") as client:
        itt = write_with(client, b"", flags=0)
        client.send(data_out(itt, NO_TAG, Piece()))
        assert client.receive().opcode == wire.R2T, "the unsolicited data was not taken"
        assert client.until_pong() == []


def test_unsolicited_data_out_exceeds_first_burst(field: Field) -> None:
    with field.enter(WRITTEN, **UNSOLICITED) as client:
        itt = write_with(client, bytes(4096), flags=0)
        client.send(data_out(itt, NO_TAG, Piece(bytes(512), {"buffer_offset": 4096})))
        answers = client.until_pong()
        assert all(answer.opcode == wire.R2T or answer.sense[0] == ABORTED for answer in answers)
        check_guard(client)


def test_unsolicited_data_out_that_never_ends(field: Field) -> None:
    with field.enter(WRITTEN, **UNSOLICITED) as client:
        itt = write_with(client, b"", flags=0)
        client.send(data_out(itt, NO_TAG, Piece(bytes(512), flags=0)))
        assert client.until_pong() == []


def test_unsolicited_data_out_after_the_last(field: Field) -> None:
    with field.enter(WRITTEN, **UNSOLICITED) as client:
        itt = write_with(client, bytes(512), flags=FINAL)
        client.send(data_out(itt, NO_TAG, Piece(bytes(512), {"buffer_offset": 512})))
        assert [answer.opcode for answer in client.until_pong()] == [wire.R2T]


@pytest.mark.parametrize("blocks", [0, 1, 0xFFFF])
@pytest.mark.parametrize("edtl", [0, 1, 511, 513, 0xFFFFFFFF])
def test_write_whose_expected_length_lies(field: Field, blocks: int, edtl: int) -> None:
    """Whatever the two say, no more is asked for than both allow."""
    with field.enter(WRITTEN) as client:
        client.send(client.command_pdu(wire.cdb_write10(0, blocks), flags=FINAL | wire.WRITE_BIT | 1, edtl=edtl))
        for answer in client.until_pong():
            if answer.opcode == wire.R2T:
                assert answer.field("run_length") <= min(edtl, blocks * 512)


def test_write_aborted_while_its_data_comes(field: Field) -> None:
    """No R2T and no answer for it afterwards; the rest of the data is discarded."""
    with field.enter(WRITTEN) as client:
        itt, r2t = begin(client)
        client.send(data_out(itt, r2t.field("ttt"), Piece(bytes(512), flags=0)))
        client.send(client.request(wire.TASK_MANAGEMENT | wire.IMMEDIATE, flags=0x81, referenced_tag=itt))
        response = client.receive()
        assert (response.opcode, response.header[2]) == (0x22, 0)
        client.send(data_out(itt, r2t.field("ttt"), Piece(bytes(512), {"data_sn": 1, "buffer_offset": 512})))
        assert client.until_pong() == []
        check_guard(client)


def test_connection_ends_inside_a_long_data_out(field: Field) -> None:
    for cut in (1, 47, 48, 49, 4096, 8191):
        with field.enter(WRITTEN) as client:
            itt, r2t = begin(client)
            client.send(data_out(itt, r2t.field("ttt"), Piece())[:cut])
            client.reset()


def test_writes_that_wait_for_data_for_ever(field: Field) -> None:
    """128 writes of 1 MiB each on 16 sessions hold no more buffers than the limit, and starve nobody."""
    sessions = [field.enter(WRITTEN) for _ in range(16)]
    for client in sessions:
        for _ in range(128):
            client.send(client.command_pdu(wire.cdb_write10(0, 2048), flags=FINAL | wire.WRITE_BIT, edtl=1 << 20))
    try:
        for client in sessions:
            client.until_pong()
        field.check_unhurt()
    except Gone:
        pytest.fail("a session was closed for asking to write")
    finally:
        for client in sessions:
            client.socket.close()
