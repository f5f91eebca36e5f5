"""Command blocks: every operation code, random and at its extremes, and parameter lists cut at every length."""

import random
from typing import Final

import pytest

from tests.hostile import wire
from tests.hostile.client import Client
from tests.hostile.field import Field
from tests.hostile.wire import FINAL, READ_BIT, WRITE_BIT
from tests.support.odx import ZERO_TOKEN, populate, write_using

SHAPES: Final = 6
EXPECTED: Final = (0, 512, 65536, 0xFFFFFFFF)
DATA: Final = (b"", bytes(24), b"\xff" * 512)


def blocks_of(opcode: int) -> list[bytes]:
    """Command blocks of one operation code: zeros, ones, and what a seed gives."""
    dice = random.Random(opcode)
    bodies = [bytes(15), b"\xff" * 15, *(dice.randbytes(15) for _ in range(SHAPES - 2))]
    # A length of mode 3 bytes makes random commands small enough to be carried out now and then.
    return [bytes([opcode]) + body for body in bodies]


def drain(client: Client) -> list[wire.Answer]:
    """Answers to everything sent; R2Ts are left unanswered, their tasks then aborted by the end of the session."""
    return client.until_pong()


@pytest.mark.parametrize("opcode", range(0x100), ids=lambda opcode: f"{opcode:02X}h")
def test_operation_code(field: Field, opcode: int) -> None:
    """With and without data, on a LUN that is there and one that isn't."""
    with field.enter() as client:
        for number, cdb in enumerate(blocks_of(opcode)):
            for lun in (0, 9):
                edtl = EXPECTED[number % len(EXPECTED)]
                data = DATA[number % len(DATA)]
                reading = client.command_pdu(cdb, flags=FINAL | READ_BIT | 1, edtl=edtl, lun=lun << 48)
                writing = client.command_pdu(
                    cdb, data, flags=FINAL | WRITE_BIT | 1, edtl=max(edtl, len(data)), lun=lun << 48
                )
                client.send(reading + writing + client.command_pdu(cdb, lun=lun << 48))
        drain(client)


def parameter_lists() -> dict[str, tuple[bytes, bytes]]:
    """(command block, whole parameter list) of the commands that carry one; the length goes to its place below."""
    key = (1).to_bytes(8, "big")
    reservation = bytes(8) + key + bytes(8)
    descriptor = (0).to_bytes(8, "big") + (8).to_bytes(4, "big") + bytes(4)
    caching = bytes([0x08, 0x12, 0x04]) + bytes(17)
    cscd = bytes([0xE4, 0, 0, 0, 1, 3, 0, 16]) + bytes(24)
    segment = bytes([0x02, 0, 0, 24, 0, 0, 0, 0]) + bytes(20)
    copy = bytes([1, 0, 0, 32, 0, 0, 0, 0]) + len(segment).to_bytes(4, "big") + bytes(4) + cscd + segment
    return {
        "UNMAP": (b"\x42" + bytes(15), (22).to_bytes(2, "big") + (16).to_bytes(2, "big") + bytes(4) + descriptor),
        "MODE SELECT(6)": (b"\x15\x10" + bytes(14), bytes(4) + caching),
        "MODE SELECT(10)": (b"\x55\x10" + bytes(14), bytes(8) + caching),
        "PERSISTENT RESERVE OUT REGISTER": (b"\x5f\x00" + bytes(14), reservation),
        "PERSISTENT RESERVE OUT REGISTER AND MOVE": (b"\x5f\x07" + bytes(14), reservation + bytes(40)),
        "EXTENDED COPY": (b"\x83\x00" + bytes(14), copy),
        "POPULATE TOKEN": (b"\x83\x10" + bytes(14), populate([(0, 8), (64, 8)])),
        "WRITE USING TOKEN": (b"\x83\x11" + bytes(14), write_using(ZERO_TOKEN, [(0, 8), (64, 8)])),
        "WRITE SAME(10)": (b"\x41" + bytes(6) + b"\x00\x08\x00" + bytes(6), bytes(512)),
        "COMPARE AND WRITE": (b"\x89" + bytes(12) + b"\x01\x00\x00", bytes(1024)),
        "SANITIZE OVERWRITE": (b"\x48\x81" + bytes(14), bytes([1, 0, 0, 4]) + bytes(4)),
    }


LENGTHS: Final = {
    "UNMAP": (7, 2),
    "MODE SELECT(6)": (4, 1),
    "MODE SELECT(10)": (7, 2),
    "PERSISTENT RESERVE OUT REGISTER": (5, 4),
    "PERSISTENT RESERVE OUT REGISTER AND MOVE": (5, 4),
    "EXTENDED COPY": (10, 4),
    "POPULATE TOKEN": (10, 4),
    "WRITE USING TOKEN": (10, 4),
    "SANITIZE OVERWRITE": (7, 2),
}
"""Where the PARAMETER LIST LENGTH stands: (offset, bytes)."""


def with_length(name: str, cdb: bytes, length: int) -> bytes:
    """The command block with its PARAMETER LIST LENGTH, if it has one."""
    if name not in LENGTHS:
        return cdb
    at, size = LENGTHS[name]
    return cdb[:at] + (length & ((1 << 8 * size) - 1)).to_bytes(size, "big") + cdb[at + size :]


@pytest.mark.parametrize("name", parameter_lists())
@pytest.mark.parametrize("told", ["truth", "whole", "most"])
def test_parameter_list_cut_at_every_length(field: Field, name: str, told: str) -> None:
    """The command block tells the length that comes, the length of the whole list, or the most there is."""
    cdb, whole = parameter_lists()[name]
    with field.enter() as client:
        for length in range(len(whole)) if len(whole) < 200 else (*range(32), *range(480, len(whole), 7)):
            claimed = {"truth": length, "whole": len(whole), "most": 0xFFFFFFFF}[told]
            client.send(
                client.command_pdu(
                    with_length(name, cdb, claimed), whole[:length], flags=FINAL | WRITE_BIT | 1, edtl=length
                )
            )
            client.until_pong()


@pytest.mark.parametrize("name", parameter_lists())
def test_parameter_list_with_one_byte_wrong(field: Field, name: str) -> None:
    """Each byte in turn is FFh."""
    cdb, whole = parameter_lists()[name]
    with field.enter() as client:
        for at in range(min(len(whole), 96)):
            data = whole[:at] + b"\xff" + whole[at + 1 :]
            client.send(
                client.command_pdu(with_length(name, cdb, len(data)), data, flags=FINAL | WRITE_BIT | 1, edtl=len(data))
            )
            client.until_pong()


ALLOCATIONS: Final = {
    "INQUIRY": (bytes([0x12, 0, 0]), 3, 2),
    "INQUIRY VPD 83h": (bytes([0x12, 1, 0x83]), 3, 2),
    "MODE SENSE(6)": (bytes([0x1A, 0, 0x3F]), 4, 1),
    "MODE SENSE(10)": (bytes([0x5A, 0, 0x3F]), 7, 2),
    "REQUEST SENSE": (bytes([0x03, 0, 0]), 4, 1),
    "REPORT LUNS": (bytes([0xA0, 0, 0]), 6, 4),
    "READ CAPACITY(16)": (bytes([0x9E, 0x10]), 10, 4),
    "GET LBA STATUS": (bytes([0x9E, 0x12]), 10, 4),
    "REPORT SUPPORTED OPERATION CODES": (bytes([0xA3, 0x0C]), 6, 4),
    "REPORT TARGET PORT GROUPS": (bytes([0xA3, 0x0A]), 6, 4),
    "PERSISTENT RESERVE IN": (bytes([0x5E, 0x03]), 7, 2),
    "READ DEFECT DATA(12)": (bytes([0xB7, 0x18]), 6, 4),
    "RECEIVE COPY OPERATING PARAMETERS": (bytes([0x84, 0x03]), 10, 4),
    "LOG SENSE": (bytes([0x4D, 0, 0x40]), 7, 2),
}


@pytest.mark.parametrize("name", ALLOCATIONS)
def test_allocation_length_at_its_extremes(field: Field, name: str) -> None:
    """4 GiB asked for, expected, or both: nothing is allocated for it (tgtd dies of this)."""
    start, at, size = ALLOCATIONS[name]
    with field.enter() as client:
        for allocation in {0, 1, 3, 8, 255 & ((1 << 8 * size) - 1), (1 << 8 * size) - 1}:
            for edtl in (0, 1, 0xFFFFFFFF):
                cdb = start.ljust(at, b"\0") + allocation.to_bytes(size, "big")
                client.send(client.command_pdu(cdb, flags=FINAL | READ_BIT | 1, edtl=edtl))
        moved = sum(len(answer.data) for answer in client.until_pong() if answer.opcode == wire.DATA_IN)
        assert moved < 1 << 17


ENDS: Final = {
    "last block": 65535,
    "behind the last block": 65536,
    "2^31": 1 << 31,
    "2^32 - 1": (1 << 32) - 1,
    "2^55": 1 << 55,
    "2^63": 1 << 63,
    "2^64 - 1": (1 << 64) - 1,
}


@pytest.mark.parametrize("lba", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("opcode", [0x88, 0x8A, 0x8F, 0x8B, 0x8E, 0x89, 0x90, 0x91, 0x93, 0x9C, 0x9E])
def test_range_that_wraps(field: Field, opcode: int, lba: int) -> None:
    """LBA + length past 2^64 is out of range like any other (SBC-3 4.5)."""
    with field.enter() as client:
        for blocks in (2, 0xFFFF, 0xFFFFFFFF):
            cdb = bytes([opcode, 0]) + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + bytes(2)
            client.send(client.command_pdu(cdb, flags=FINAL | READ_BIT | 1, edtl=512))
            client.send(client.command_pdu(cdb, bytes(512), flags=FINAL | WRITE_BIT | 1, edtl=512))
        client.until_pong()
