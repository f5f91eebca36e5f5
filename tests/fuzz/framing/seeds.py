"""Programs to begin with, in the language of fuzz_framing: one of everything an initiator does, and some it must not.

python -m tests.fuzz.framing.seeds      writes them to the corpus again; the others there were found by fuzzing
"""

from typing import Final

from goldherd.wire.opcodes import Opcode

from tests.fuzz.framing.language import Agreed, Control, Fill, Kind, Marks
from tests.fuzz.framing.records import (
    BOTH_DIGESTS,
    CUT,
    FINAL,
    FIRST_TAG,
    IMMEDIATE,
    JOB,
    LATER,
    NAMED,
    PING,
    TWO,
    again,
    command,
    control,
    data_out,
    event,
    pdu,
    program,
    read,
    record,
    room,
    short,
    tick,
    write,
)
from tests.fuzz.targets import CORPUS
from tests.session.initiator import INQUIRY, NO_TAG, READ, SYNCHRONIZE_CACHE, WRITE, cdb_read

EVERYTHING: Final = (
    PING,
    read(0, 8),
    write(8, 1, 512),
    command(INQUIRY, FINAL | READ, 255),
    write(16, 16),
    data_out(),
    read(5, 40),
)

SEEDS: Final = {
    "nothing": program(),
    "everything": program(*EVERYTHING),
    "everything-header-digests": program(*EVERYTHING, agreed=Agreed.HEADER_DIGEST | Agreed.IMMEDIATE_DATA),
    "everything-data-digests": program(*EVERYTHING, agreed=Agreed.DATA_DIGEST | Agreed.IMMEDIATE_DATA),
    "everything-both-digests-small": program(*EVERYTHING, agreed=BOTH_DIGESTS | Agreed.INITIAL_R2T, sizes=1),
    "everything-large": program(*EVERYTHING, sizes=2),
    "everything-near-wrap": program(*EVERYTHING, *EVERYTHING, agreed=Agreed.NEAR_WRAP | Agreed.IMMEDIATE_DATA),
    "read-golden": program(read(0, 64, lun=2), read(1000, 600, lun=2), sizes=2),
    "read-slow": program(read(0, 64, lun=1), JOB, read(3, 700, lun=1), JOB, JOB, JOB),
    "read-beyond-end": program(read(2040, 64), event(4), read(0, 0), event()),
    "read-4096": program(read(0, 8, lun=3), read(1, 1, lun=3)),
    "read-odd-segment": program(read(0, 33), sizes=3),
    "read-other-length": program(
        command(cdb_read(0, 8), FINAL | READ, 1000), command(cdb_read(0, 1), FINAL | READ, 9000)
    ),
    "reads-to-a-full-socket": program(room(100), read(0, 500), again(8), room(5000), PING, room(None), sizes=2),
    "reads-in-one-segment": program(read(0, 8, fill=LATER), again(64), PING),
    "write-immediate": program(write(0, 16, 8192), read(0, 16)),
    "write-immediate-slow": program(write(0, 16, 8192, lun=1), JOB, read(0, 16, lun=1), JOB),
    "write-immediate-long": program(write(0, 256, 131072, marks=CUT[60000]), PING, read(0, 256), sizes=4),
    "write-immediate-long-digest": program(
        write(0, 256, 65536, marks=CUT[4096]), PING, data_out(), data_out(), agreed=BOTH_DIGESTS | 8, sizes=4
    ),
    "write-unsolicited": program(
        write(0, 8, 0, flags=0, itt=5, fill=NAMED),
        data_out(512, itt=5, fill=Fill.MEASURED, flags=0),
        data_out(3584, itt=5, offset=512, number=1, fill=Fill.MEASURED),
        sizes=4,
    ),
    "write-unsolicited-part": program(
        write(0, 64, 512, flags=0, itt=5, fill=NAMED),
        data_out(512, offset=512, itt=5, fill=Fill.MEASURED),
        data_out(),
        data_out(),
        data_out(),
        data_out(),
        sizes=0,
    ),
    "write-solicited": program(write(0, 64), data_out(), data_out(), data_out(), data_out(), agreed=Agreed.INITIAL_R2T),
    "write-solicited-slow": program(write(0, 64, lun=1), data_out(), data_out(), JOB, data_out(), data_out(), JOB),
    "write-many-bursts": program(write(0, 8), data_out(), again(16), JOB, agreed=Agreed.INITIAL_R2T, sizes=1),
    "write-long-sinks": program(write(0, 512), data_out(marks=CUT[60000]), data_out(marks=CUT[5]), PING, sizes=4),
    "write-fua": program(write(0, 1, 512, fua=True), JOB, write(0, 16, fua=True), data_out(), JOB),
    "write-read-only": program(write(0, 1, 512, lun=2), event(20)),
    "write-wrong-offset": program(
        write(0, 8, itt=5, fill=NAMED),
        data_out(512, offset=512, at_20=FIRST_TAG, itt=5, fill=Fill.MEASURED),
        event(20),
    ),
    "write-too-much": program(
        write(0, 8, itt=5, fill=NAMED), data_out(8192, at_20=FIRST_TAG, itt=5, fill=Fill.MEASURED), event(20)
    ),
    "write-hoard": program(write(0, 2048), again(130), tick(70), sizes=2),
    "write-lost": program(write(0, 256, 65536, marks=CUT[4096], lun=1), again(0), sizes=4),
    "write-aborted-half-received": program(
        write(0, 256, 65536, marks=CUT[4096]),
        control(Control.ABORT_ALL),
        PING,
        write(0, 256),
        data_out(marks=CUT[4096]),
        control(Control.ABORT_UNIT, Control.ABORT_ALL),
        PING,
        sizes=4,
    ),
    "parameters": program(
        command(b"\x55".ljust(7, b"\0") + b"\x02\0", FINAL | WRITE, 512, 512),
        event(3),
        command(b"\x5f".ljust(5, b"\0") + b"\0\0\0\x18", FINAL | WRITE, 24),
        data_out(),
        event(20),
    ),
    "parameters-long": program(
        command(b"\x83".ljust(10, b"\0") + b"\0\1\0\0\0\0", FINAL | WRITE, 65536), data_out(), again(12)
    ),
    "slow-path": program(command(b"\xa0", FINAL | READ, 300), event(4), read(0, 1, lun=9), event(16)),
    "slow-path-much": program(command(b"\x9e\x10".ljust(16, b"\0"), FINAL | READ, 300000), event(12), sizes=1),
    "slow-path-proceed": program(read(2047, 1, lun=4), event(255), read(2047, 2, lun=4), event(255)),
    "bidirectional": program(command(cdb_read(0, 1), FINAL | READ | WRITE, 512), event(16)),
    "flush": program(command(SYNCHRONIZE_CACHE, FINAL, 0), JOB, command(SYNCHRONIZE_CACHE, FINAL, 0, lun=1), JOB),
    "text": program(
        pdu(Opcode.TEXT_REQUEST, length=16), event(1), pdu(Opcode.TEXT_REQUEST | IMMEDIATE, 0x40, length=64)
    ),
    "text-redeclared": program(pdu(Opcode.TEXT_REQUEST, length=32), control(Control.REDECLARE), event(2), read(0, 8)),
    "text-too-long": program(pdu(Opcode.TEXT_REQUEST, length=70000), sizes=4),
    "task-management": program(
        read(0, 8, lun=1, itt=5, fill=NAMED),
        *(pdu(Opcode.TASK_MANAGEMENT_REQUEST | IMMEDIATE, FINAL | function, at_20=5) for function in range(1, 9)),
        event(0),
        event(4),
        control(Control.ABORT_ALL),
        JOB,
    ),
    "aborts": program(
        write(0, 64, lun=1),
        data_out(),
        control(Control.ABORT, Control.ABORT_OLDER, Control.ABORT_UNIT, Control.DRAIN),
        JOB,
        control(Control.DRAIN_WRITES),
        command(INQUIRY, FINAL, 0, lun=1),
        control(Control.ABORT_ALL),
        event(0),
    ),
    "quiesced": program(
        control(Control.QUIESCE), write(0, 1, 512), write(0, 16), data_out(), control(Control.RESUME), read(0, 1)
    ),
    "logout": program(pdu(Opcode.LOGOUT_REQUEST), event(0x10), PING),
    "logout-one": program(pdu(Opcode.LOGOUT_REQUEST | IMMEDIATE, 0x81, other=True), event(0x20), PING, agreed=TWO),
    "async": program(control(Control.ASYNC), read(0, 1), control(Control.ASYNC, other=True)),
    "snack": program(pdu(Opcode.SNACK_REQUEST, 0x81, fill=0), pdu(Opcode.SNACK_REQUEST, 0x80), PING),
    "vendor": program(pdu(0x1C), pdu(0x1F | IMMEDIATE, length=12), pdu(0x0F), read(0, 1)),
    "of-a-target": program(pdu(Opcode.NOP_IN)),
    "login-again": program(pdu(Opcode.LOGIN_REQUEST | IMMEDIATE, 0x87, length=100)),
    "pings": program(
        tick(31), pdu(Opcode.NOP_OUT | IMMEDIATE, itt=NO_TAG, at_20=1, fill=Fill.MEASURED), tick(31), tick(61), tick(61)
    ),
    "ping-long": program(pdu(Opcode.NOP_OUT, length=8000), pdu(Opcode.NOP_OUT, length=131072), sizes=4),
    "stuck": program(room(0), read(0, 8), tick(30), tick(61)),
    "flood": program(command(INQUIRY, FINAL, 0, lun=9), again(200), event(16), PING),
    "flood-immediate": program(pdu(Opcode.TEXT_REQUEST | IMMEDIATE), again(200)),
    "same-tag": program(read(0, 1, lun=1, itt=5, fill=NAMED), again(2), JOB),
    "additional": program(
        read(0, 1, ahs=bytes([0, 5, 1, 0, 0, 0, 0, 0])), read(0, 1, ahs=b"\xff" * 8), read(0, 1, ahs=bytes(12))
    ),
    "additional-longest": program(pdu(0x1C, ahs=bytes(1020)), PING, agreed=BOTH_DIGESTS, sizes=1),
    "bad-header-digest": program(read(0, 1, marks=Marks.BAD_HEADER_DIGEST), PING, agreed=BOTH_DIGESTS),
    "bad-data-digest": program(
        write(0, 1, 512, marks=Marks.BAD_DATA_DIGEST),
        event(20),
        write(0, 16),
        data_out(marks=Marks.BAD_DATA_DIGEST),
        pdu(Opcode.NOP_OUT, length=5, marks=Marks.BAD_DATA_DIGEST),
        PING,
        agreed=BOTH_DIGESTS | Agreed.IMMEDIATE_DATA,
    ),
    "bad-data-digest-long": program(
        write(0, 128, 65536, marks=Marks.BAD_DATA_DIGEST | CUT[512]), PING, event(20), agreed=BOTH_DIGESTS | 8, sizes=4
    ),
    "declared-too-long": program(pdu(Opcode.NOP_OUT, length=8200)),
    "lengths-that-lie": program(pdu(Opcode.NOP_OUT, length=100, fill=0), PING, again(3)),
    "gap": program(read(0, 1, fill=Fill.TAGGED | Fill.MEASURED, cmd_sn=2), PING),
    "outside-the-window": program(read(0, 1, fill=Fill.TAGGED | Fill.MEASURED, cmd_sn=0xFFFFFF00), PING),
    "raw": program(record(Kind.RAW, 0, bytes([96]) + bytes(range(96))), PING),
    "short": program(
        short(2),
        short(5, length=4096),
        short(5),
        short(3, length=8192, marks=Marks.LATER),
        short(4),
        short(6, length=512),
        short(7),
        again(2),
        short(8),
        short(5),
        short(9, length=4096),
        short(11),
        JOB,
        short(10),
        JOB,
        short(12),
        JOB,
    ),
    "raw-zeros": program(record(Kind.RAW, 0, bytes([200]) + bytes(200)), PING),
    "two-gap": program(read(0, 1, fill=LATER), read(1, 1, other=True), PING, agreed=TWO),
    "two-gap-data": program(
        write(0, 16, itt=5, fill=NAMED),
        read(0, 1, fill=LATER, other=True),
        read(1, 1),
        data_out(),
        PING,
        record(Kind.RAW, 0, b"\0", other=True),
        data_out(),
        agreed=TWO,
    ),
    "two-gap-full": program(
        read(0, 1, fill=LATER), pdu(Opcode.NOP_OUT, length=8000, other=True), again(24), PING, agreed=TWO
    ),
    "two-gap-forever": program(read(0, 1, fill=LATER), read(1, 1, other=True), tick(61), agreed=TWO),
    "two-lost-command": program(
        read(0, 1, fill=LATER), read(1, 1, other=True), control(Control.ABORT_LOST), PING, agreed=TWO
    ),
    "two-one-lost": program(write(0, 64, lun=1), write(0, 64, lun=1, other=True), again(0), agreed=TWO),
    "two-replaced": program(
        read(0, 8, lun=1),
        control(Control.REINSTATE, Control.EXPECT, Control.JOIN),
        read(0, 1),
        JOB,
        control(Control.CLOSE_ONE),
        PING,
        agreed=TWO,
    ),
    "reinstated-and-closed": program(
        control(Control.REINSTATE), JOB, control(Control.CLOSE), control(Control.JOIN), PING
    ),
    "two-digests": program(*EVERYTHING, read(0, 8, other=True), agreed=TWO | BOTH_DIGESTS, sizes=5),
}


def main() -> None:
    """Writes them."""
    for name, data in SEEDS.items():
        (CORPUS / "framing" / name).write_bytes(data)


if __name__ == "__main__":
    main()
