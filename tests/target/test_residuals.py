"""R and W bits, Expected Data Transfer Length and residuals over a real socket (RFC 7143 11.3.1, 11.3.5, 11.4.5)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.target.daemon import Daemon, running
from tests.target.initiator import Session

R, W, NEITHER, BOTH = 0x40, 0x20, 0x00, 0x60
GOOD, CHECK_CONDITION = 0x00, 0x02
SENSE: Final = (0x5, 0x0E, 0x03)
"""INVALID FIELD IN COMMAND INFORMATION UNIT."""
OLD, NEW = b"\xaa" * 2048, b"\x55" * 4096
READ = "28 00 00000000 00 0001 00"
WRITE_1, WRITE_2 = "2a 00 00000000 00 0001 00", "2a 00 00000000 00 0002 00"
READ_LONG, INQUIRY, READY, FLUSH = "28 00 00000000 00 0400 00", "12 00 00 0060 00", "00", "35"
SELF_TEST = "1d 04 00 0000 00"
NO_RESIDUAL = ("", 0)


@dataclass
class Ended:
    """How a command ended, and what was sent for it before."""

    status: int
    key: tuple[int, int, int]
    residual: tuple[str, int]
    data: int
    r2ts: int


@pytest.fixture(scope="module", params=[1, 0], ids=["reactor", "event loop"])
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("residuals")
    disk = folder / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(4 << 20)
    with running(folder / "log", "--data", folder / "data", "export", disk, "--reactors", request.param) as served:
        yield served


@pytest.fixture(params=["Yes", "No"], ids=["R2T first", "unsolicited data"])
def session(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[Session]:
    keys = {"InitialR2T": request.param, "ImmediateData": "Yes", "MaxRecvDataSegmentLength": "262144"}
    with daemon.log_in("export", isid=bytes.fromhex("00023d000001"), keys=keys) as made:
        assert made.write(0, OLD).status == GOOD
        yield made


def ask(session: Session, cdb: str, flags: int, expected: int, immediate: int = 0) -> Ended:
    """Sends a command with these bits and this Expected Data Transfer Length; serves its R2Ts until its status."""
    session._itt += 1
    header = struct.pack(">BBxxI8x", 0x01, 0x81 | flags, 0)
    header += struct.pack(">IIII", session._itt, expected, session.cmd_sn, session.exp_stat_sn)
    session.send(header + bytes.fromhex(cdb).ljust(16, b"\0"), NEW[:immediate])
    session.cmd_sn += 1
    data = r2ts = 0
    while True:
        pdu = session.take()
        assert pdu.itt == session._itt
        if pdu.opcode == 0x31:
            r2ts += 1
            session._data_out(pdu, NEW)
            continue
        data += len(pdu.data) if pdu.opcode == 0x25 else 0
        if pdu.opcode == 0x21 or pdu.header[1] & 1:
            sense = pdu.data[2:] if pdu.opcode == 0x21 else b""
            key = (sense[2] & 0x0F, sense[12], sense[13]) if sense else (0, 0, 0)
            side = {0: "", 2: "U", 4: "O"}[pdu.header[1] & 6]
            return Ended(pdu.header[3], key, (side, int.from_bytes(pdu.header[44:48], "big")), data, r2ts)


@pytest.mark.parametrize(
    ("cdb", "flags", "expected", "residual", "data"),
    [
        (READ, R, 512, NO_RESIDUAL, 512),
        (READ, R, 200, ("O", 312), 200),
        (READ, R, 700, ("U", 188), 512),
        (READ, NEITHER, 512, ("O", 512), 0),
        (READ, W, 512, ("O", 512), 0),
        (READ_LONG, NEITHER, 524288, ("O", 524288), 0),
        (READ_LONG, W, 2048, ("O", 524288), 0),
        (INQUIRY, R, 96, NO_RESIDUAL, 96),
        (INQUIRY, NEITHER, 96, ("O", 96), 0),
        (INQUIRY, W, 96, ("O", 96), 0),
        (READY, NEITHER, 0, NO_RESIDUAL, 0),
        (READY, R, 512, ("U", 512), 0),
        (READY, W, 512, ("U", 512), 0),
        (FLUSH, R, 512, ("U", 512), 0),
        (FLUSH, W, 512, ("U", 512), 0),
        (SELF_TEST, W, 512, ("U", 512), 0),
        (WRITE_1, NEITHER, 512, ("O", 512), 0),
        (WRITE_1, R, 512, ("O", 512), 0),
        (WRITE_1, R, 200, ("O", 512), 0),
    ],
)
@pytest.mark.parametrize("immediate", [0, 200])
def test_data_moves_only_the_way_that_was_asked_for(
    session: Session,
    cdb: str,
    flags: int,
    expected: int,
    residual: tuple[str, int],
    data: int,
    immediate: int,
) -> None:
    sent = immediate if flags == W and expected > immediate else 0
    assert ask(session, cdb, flags, expected, sent) == Ended(GOOD, (0, 0, 0), residual, data, 0)
    assert session.read(0, 4) == OLD


@pytest.mark.parametrize("cdb", [READ, WRITE_1, INQUIRY, READY, FLUSH])
@pytest.mark.parametrize("immediate", [0, 512])
def test_no_command_is_bidirectional(session: Session, cdb: str, immediate: int) -> None:
    assert ask(session, cdb, BOTH, 512, immediate) == Ended(CHECK_CONDITION, SENSE, ("U", 512), 0, 0)
    assert session.read(0, 4) == OLD


WRITERS = {
    "WRITE(6)": "0a 00 00 00 02 00",
    "WRITE(10)": WRITE_2,
    "WRITE(10) with FUA": "2a 08 00000000 00 0002 00",
    "WRITE(12)": "aa 00 00000000 00000002 00 00",
    "WRITE(16)": "8a 00 0000000000000000 00000002 00 00",
    "WRITE AND VERIFY(10)": "2e 00 00000000 00 0002 00",
    "ORWRITE(16)": "8b 00 0000000000000000 00000002 00 00",
    "WRITE ATOMIC(16)": "9c 00 0000000000000000 0000 0002 00 00",
    "COMPARE AND WRITE": "89 00 0000000000000000 000000 01 00 00",
    "VERIFY(10) that compares": "2f 02 00000000 00 0002 00",
}
"""Two blocks of Data-Out each."""


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("immediate", [False, True], ids=["by R2T", "immediate"])
@pytest.mark.parametrize("expected", [200, 700])
def test_data_that_ends_inside_a_block_is_refused(session: Session, name: str, immediate: bool, expected: int) -> None:
    ended = ask(session, WRITERS[name], W, expected, expected if immediate else 0)
    assert (ended.status, ended.key, ended.residual) == (CHECK_CONDITION, SENSE, ("O", 1024 - expected))
    assert session.read(0, 4) == OLD


def test_write_same_with_a_part_of_its_block_is_refused(session: Session) -> None:
    ended = ask(session, "41 00 00000000 00 0002 00", W, 200)
    assert (ended.status, ended.key, ended.residual) == (CHECK_CONDITION, SENSE, ("O", 312))
    assert session.read(0, 4) == OLD


@pytest.mark.parametrize(
    ("expected", "residual", "stored"), [(512, ("O", 512), 512), (1024, NO_RESIDUAL, 1024), (1100, ("U", 76), 1024)]
)
@pytest.mark.parametrize("name", ["WRITE(10)", "WRITE(10) with FUA", "WRITE AND VERIFY(10)"])
def test_whole_blocks_are_stored_and_the_residual_tells_the_rest(
    session: Session, name: str, expected: int, residual: tuple[str, int], stored: int
) -> None:
    ended = ask(session, WRITERS[name], W, expected)
    assert (ended.status, ended.residual) == (GOOD, residual)
    assert session.read(0, 4) == NEW[:stored] + OLD[stored:]
