"""Records of the language of fuzz_framing, written down: for seeds, and for PDUs that have a short name.

`program` puts them together; every other function makes one record.
"""

from typing import Any, Final

from goldherd.wire.opcodes import Opcode

from tests.fuzz.framing.language import AGAIN, CUTS, OTHER_CONNECTION, ROOMS, Agreed, Control, Fill, Kind, Sending
from tests.session.initiator import INQUIRY, NO_TAG, READ, SYNCHRONIZE_CACHE, WRITE, cdb_read, cdb_write, lun_field

FINAL: Final = 0x80
IMMEDIATE: Final = 0x40
NEXT: Final = Fill.NUMBERED | Fill.TAGGED | Fill.MEASURED
"""The next command, with a tag of its own."""
NAMED: Final = Fill.NUMBERED | Fill.MEASURED
"""The next command, with the tag that its header says."""
ASKED: Final = Fill.TAGGED | Fill.MEASURED
"""Data-Out as the oldest R2T wants it."""
BOTH_DIGESTS: Final = Agreed.HEADER_DIGEST | Agreed.DATA_DIGEST


def program(*records: bytes, agreed: int = Agreed.IMMEDIATE_DATA, sizes: int = 0) -> bytes:
    """A whole input."""
    return bytes([agreed, sizes]) + b"".join(records)


def record(kind: Kind, high: int = 0, operands: bytes = b"", *, other: bool = False) -> bytes:
    """Any record but a PDU."""
    return bytes([kind | (OTHER_CONNECTION if other else 0) | high << 4]) + operands


def pdu(
    opcode: int,
    flags: int = FINAL,
    *,
    length: int = 0,
    fill: int = NEXT,
    marks: int = 0,
    other: bool = False,
    lun: int = 0,
    itt: int = 0,
    at_20: int = NO_TAG,
    cmd_sn: int = 0,
    rest: bytes = b"",
    ahs: bytes = b"",
) -> bytes:
    """A PDU record; `at_20` is Expected Data Transfer Length or Target Transfer Tag, `rest` what begins at byte 32."""
    header = bytes([opcode, flags, 0, 0, len(ahs) // 4]) + length.to_bytes(3, "big") + lun_field(lun)
    header += itt.to_bytes(4, "big") + at_20.to_bytes(4, "big") + cmd_sn.to_bytes(4, "big") + bytes(4)
    count = length if length < 0x8000 else 0x8000 | length >> 4
    op = Kind.PDU | fill | (OTHER_CONNECTION if other else 0)
    return bytes([op, marks]) + count.to_bytes(2, "big") + header + rest.ljust(16, b"\0") + ahs


def command(cdb: bytes, flags: int, expected: int, length: int = 0, **more: Any) -> bytes:
    """A SCSI Command."""
    return pdu(Opcode.SCSI_COMMAND, flags, length=length, at_20=expected, rest=cdb, **more)


def read(lba: int, blocks: int, **more: Any) -> bytes:
    """READ(16)."""
    return command(cdb_read(lba, blocks), FINAL | READ, blocks * 512, **more)


def write(lba: int, blocks: int, sent: int = 0, *, flags: int = FINAL, fua: bool = False, **more: Any) -> bytes:
    """WRITE(16), with so many bytes of immediate data."""
    return command(cdb_write(lba, blocks, fua=fua), flags | WRITE, blocks * 512, sent, **more)


def data_out(
    length: int = 0, *, offset: int = 0, number: int = 0, flags: int = FINAL, fill: int = ASKED, **more: Any
) -> bytes:
    """A Data-Out; the header's numbers count only if it is not filled in."""
    rest = bytes(4) + number.to_bytes(4, "big") + offset.to_bytes(4, "big")
    return pdu(Opcode.DATA_OUT, flags, length=length, fill=fill, rest=rest, **more)


def short(template: int, *, length: int = 0, marks: int = 0) -> bytes:
    """One of TEMPLATES, from 1 on, as the next command."""
    return record(Kind.RAW, template, bytes([marks]) + length.to_bytes(2, "big"))


def again(times: int) -> bytes:
    """The PDU before, some times more; 0: the connection is lost."""
    return record(Kind.AGAIN, AGAIN.index(times))


def room(count: int | None) -> bytes:
    """The far end takes so much."""
    return record(Kind.ROOM, ROOMS.index(count))


def event(way: int = 0, number: int = 0) -> bytes:
    """The control plane answers."""
    return record(Kind.EVENT, number, bytes([way]))


def control(*steps: Control, other: bool = False) -> bytes:
    """The control plane does something by itself."""
    return b"".join(record(Kind.CONTROL, step, other=other) for step in steps)


def tick(seconds: int) -> bytes:
    """Time passes."""
    return record(Kind.TICK, 0, bytes([seconds]))


FIRST_TAG: Final = 0x1000FF
"""Target Transfer Tag of the first task: its slot, and generation 1."""
JOB: Final = record(Kind.JOB)
PING: Final = pdu(Opcode.NOP_OUT | IMMEDIATE, length=5)
LATER: Final = NEXT | Fill.LATER
CUT: Final = {count: row for row, count in enumerate(CUTS)}
TWO: Final = Agreed.IMMEDIATE_DATA | Agreed.TWO_CONNECTIONS

TEMPLATES: Final = tuple(
    Sending.of(made)
    for made in (
        PING,
        read(0, 8),
        write(0, 16),
        write(0, 16, flags=0),
        data_out(),
        data_out(flags=0),
        read(0, 600),
        write(0, 600),
        write(0, 8, fua=True),
        read(0, 40, lun=1),
        write(0, 16, lun=1),
        command(INQUIRY, FINAL | READ, 255),
        command(SYNCHRONIZE_CACHE, FINAL, 0),
        pdu(Opcode.TEXT_REQUEST),
        pdu(Opcode.TASK_MANAGEMENT_REQUEST | IMMEDIATE),
    )
)
"""PDUs that a record of Kind.RAW may name instead of writing them out, from 1 on."""
