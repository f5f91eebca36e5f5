"""Too much of what is allowed: floods, answers never read, bytes that trickle, connections cut at every byte."""

import random
from collections.abc import Callable
from typing import Final

import pytest

from tests.hostile import wire
from tests.hostile.client import Client, Gone
from tests.hostile.field import BYSTANDER, NODE, Field
from tests.hostile.wire import FINAL, IMMEDIATE, NO_TAG, READ_BIT, WRITE_BIT, pdu

TOO_MANY_IMMEDIATE: Final = 0x06
RECEIVE_BYTES: Final = 4096


# --- answers that nobody reads ---

Flood = Callable[[Client], bytes]


def many(count: int, make: Flood) -> Flood:
    """The same PDU again and again, each with a number of its own."""
    return lambda client: b"".join(make(client) for _ in range(count))


def read_16m(client: Client) -> bytes:
    """READ(16) of 32 MiB."""
    return client.command_pdu(wire.cdb_read16(0, 65536), flags=FINAL | READ_BIT | 1, edtl=32 << 20)


FLOODS: Final[dict[str, Flood]] = {
    "1000 reads of 256 KiB": many(
        1000,
        lambda client: client.command_pdu(wire.cdb_read10(0, 512), flags=FINAL | READ_BIT | 1, edtl=512 * 512),
    ),
    "128 reads of 32 MiB": many(128, read_16m),
    "128 reads of 32 MiB that Python has to judge": many(
        128,
        lambda client: client.command_pdu(
            wire.cdb_read16(0, 65536), flags=FINAL | READ_BIT | 1, edtl=32 << 20, ahs=bytes([0, 1, 0x3F, 0])
        ),
    ),
    "128 VERIFYs with 8 MiB of data each": many(
        128,
        lambda client: client.command_pdu(
            bytes([0xAF, 2]) + bytes(4) + (16384).to_bytes(4, "big") + bytes(2),
            flags=FINAL | WRITE_BIT | 1,
            edtl=8 << 20,
        ),
    ),
    "10000 immediate commands": many(
        10000, lambda client: client.command_pdu(wire.cdb_read10(0, 8), immediate=True, flags=0xC1, edtl=4096)
    ),
    "10000 immediate writes": many(
        10000, lambda client: client.command_pdu(wire.cdb_write10(0, 2048), immediate=True, flags=0xA1, edtl=1 << 20)
    ),
    "300 NOP-Outs with 256 KiB": many(
        300, lambda client: client.request(wire.NOP_OUT | IMMEDIATE, bytes(262144), ttt=NO_TAG)
    ),
    "20000 NOP-Outs": many(20000, lambda client: client.request(wire.NOP_OUT | IMMEDIATE, ttt=NO_TAG)),
    "5000 Text Requests of 8 KiB": many(5000, lambda client: client.request(wire.TEXT, b"X-a=1\0" * 1300, ttt=NO_TAG)),
    "5000 Text Requests that go on": many(
        5000, lambda client: client.request(wire.TEXT, bytes(8192), ttt=NO_TAG, flags=0x40)
    ),
    "5000 SendTargets": many(5000, lambda client: client.request(wire.TEXT, b"SendTargets=All\0", ttt=NO_TAG)),
    "5000 task management requests": many(
        5000, lambda client: client.request(wire.TASK_MANAGEMENT | IMMEDIATE, flags=0x82)
    ),
    "2000 LOGICAL UNIT RESETs": many(2000, lambda client: client.request(wire.TASK_MANAGEMENT | IMMEDIATE, flags=0x85)),
    "5000 Rejects": many(5000, lambda client: client.request(0x1C | IMMEDIATE)),
    "5000 INQUIRYs on a LUN that is not there": many(
        5000, lambda client: client.command_pdu(bytes([0x12, 0, 0, 0, 96, 0]), flags=0xC1, edtl=96, lun=9 << 48)
    ),
    "20000 SNACKs": many(20000, lambda client: client.request(wire.SNACK)),
    "20000 Data-Outs of no task": many(20000, lambda _: pdu(wire.DATA_OUT, itt=1, ttt=2)),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_answers_never_read(field: Field, flood: Flood) -> None:
    with field.enter(receive_bytes=RECEIVE_BYTES) as client:
        client.pour(flood(client))
        field.check_unhurt()


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_gone_before_the_answers(field: Field, flood: Flood) -> None:
    """Its answers go to nobody, least of all to the next connection of the reactor."""
    with field.enter(receive_bytes=RECEIVE_BYTES) as client:
        client.pour(flood(client)[: 1 << 20])
        client.reset()


def test_mode_select_without_end(field: Field) -> None:
    """The answers prepared for INQUIRY and its like are made anew each time; the old ones must go."""
    with field.enter() as client:
        before = field.memory_bytes
        for number in range(3000):
            page = bytes([0x08, 0x12, 0x04 if number & 1 else 0x00]) + bytes(17)
            client.send(
                client.command_pdu(b"\x15\x10\0\0\x18\0", bytes(4) + page, flags=FINAL | WRITE_BIT | 1, edtl=24)
            )
            assert client.receive().opcode == wire.RESPONSE
        assert field.memory_bytes - before < 8 << 20


def test_sessions_that_leave_their_work_behind(field: Field) -> None:
    """VERIFY of 8 MiB, 16 at a time, and gone: what waits for a thread must not pile up."""
    verify = bytes([0xAF, 2]) + bytes(4) + (16384).to_bytes(4, "big") + bytes(2)
    for _ in range(12):
        with field.enter(FirstBurstLength="262144", MaxBurstLength="16776192") as client:
            for _ in range(8):
                client.send(client.command_pdu(verify, flags=FINAL | WRITE_BIT | 1, edtl=8 << 20))
            for _ in range(8):
                r2t = client.receive()
                itt, ttt = r2t.field("itt"), r2t.field("ttt")
                for number in range(32):
                    client.send(
                        pdu(
                            wire.DATA_OUT,
                            bytes(262144),
                            flags=FINAL if number == 31 else 0,
                            itt=itt,
                            ttt=ttt,
                            data_sn=number,
                            buffer_offset=number << 18,
                        )
                    )
            client.reset()


def test_long_commands_leave_threads_for_others(field: Field) -> None:
    """100 VERIFYs of the whole disk: logins and rare commands of others go on."""
    whole = bytes([0x8F, 0]) + bytes(8) + (65536).to_bytes(4, "big") + bytes(2)
    with field.enter() as client:
        for _ in range(100):
            client.send(client.command_pdu(whole))
        for _ in range(20):
            field.check_unhurt()


def test_write_buffers_of_one_session_leave_room_for_others(field: Field) -> None:
    """64 KiB by R2T from the bystander's node, while another holds as many buffers as it gets."""
    hogs = [field.enter() for _ in range(4)]
    for hog in hogs:
        for _ in range(128):
            hog.send(hog.command_pdu(wire.cdb_write10(0, 2048), flags=FINAL | WRITE_BIT, edtl=1 << 20))
        assert all(answer.opcode == wire.R2T for answer in hog.until_pong())
    with field.enter("pc-3") as client:
        client.send(client.command_pdu(wire.cdb_write10(1024, 128), flags=FINAL | WRITE_BIT, edtl=65536))
        r2t = client.receive()
        assert r2t.opcode == wire.R2T
    for hog in hogs:
        hog.socket.close()


# --- slow, and cut ---


def test_a_session_byte_by_byte(field: Field) -> None:
    with field.enter() as client:
        for byte in client.command_pdu(wire.cdb_read10(0, 8), flags=FINAL | READ_BIT | 1, edtl=4096):
            client.socket.send(bytes([byte]))
        answers = client.until_pong()
        assert sum(len(answer.data) for answer in answers) == 4096


def session_bytes(field: Field) -> bytes:
    """A short session as one stream: login, read, write with immediate data, logout."""
    login = pdu(
        wire.LOGIN | IMMEDIATE,
        wire.text(InitiatorName=field.herd.initiator(NODE), TargetName=field.herd.iqn(NODE)),
        flags=0x87,
        isid=0x00023D200000,
        itt=1,
        cmd_sn=1,
    )
    read = pdu(wire.COMMAND, cdb=wire.cdb_read10(0, 8), flags=0xC1, itt=2, cmd_sn=1, edtl=4096)
    write = pdu(wire.COMMAND, bytes(64), cdb=wire.cdb_write10(0, 1), flags=0xA1, itt=3, cmd_sn=2, edtl=512)
    return login + read + write + pdu(wire.LOGOUT, itt=4, cmd_sn=3)


@pytest.mark.parametrize("by_reset", [True, False], ids=["reset", "half-closed"])
def test_cut_at_every_byte(field: Field, by_reset: bool) -> None:
    """All with the same ISID: each login that gets through replaces the session before."""
    stream = session_bytes(field)
    for cut in range(len(stream) + 1):
        with field.connect() as client:
            client.send(stream[:cut])
            if by_reset:
                client.reset()
            else:
                client.socket.shutdown(1)
                client.until_gone()


def test_half_closed_still_gets_its_answers(field: Field) -> None:
    with field.enter() as client:
        client.send(client.command_pdu(wire.cdb_read10(0, 8), flags=FINAL | READ_BIT | 1, edtl=4096))
        client.socket.shutdown(1)
        assert sum(len(answer.data) for answer in client.until_gone()) in (0, 4096)


@pytest.mark.parametrize("seed", range(20))
def test_random_pdus(field: Field, seed: int) -> None:
    """Headers of right form with fields from a seed; what killed tgtd in the end."""
    dice = random.Random(seed)
    with field.enter(BYSTANDER if seed % 5 == 0 else NODE) as client:
        stream = bytearray()
        for _ in range(200):
            header = bytearray(dice.randbytes(48))
            header[0] = dice.choice((0x00, 0x01, 0x02, 0x04, 0x05, 0x40, 0x41, 0x42, 0x44, 0x10))
            header[4] = 0
            data = dice.randbytes(dice.choice((0, 0, 0, 4, 512, 8192)))
            header[5:8] = len(data).to_bytes(3, "big")
            header[8:16] = bytes(8) if dice.random() < 0.8 else dice.randbytes(8)
            header[24:28] = client.cmd_sn.to_bytes(4, "big")
            if header[0] in (0, 1, 2, 4):
                client.cmd_sn += 1
            stream += header + data
        client.pour(bytes(stream))
        try:
            client.until_pong()
        except Gone:
            return
