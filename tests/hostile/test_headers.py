"""PDUs of the full feature phase whose header fields hold what they must not (RFC 7143 section 11)."""

from dataclasses import dataclass
from dataclasses import field as default
from typing import Final

import pytest

from tests.hostile import wire
from tests.hostile.client import Client, Gone
from tests.hostile.field import Field
from tests.hostile.wire import FINAL, IMMEDIATE, NO_TAG, pdu

PROTOCOL_ERROR, NOT_SUPPORTED, IN_PROGRESS, INVALID_FIELD = 0x04, 0x05, 0x07, 0x09
READ: Final = {"cdb": wire.cdb_read10(0, 8), "flags": FINAL | wire.READ_BIT | 1, "edtl": 4096}
IMMEDIATE_READ: Final = READ | {"opcode": wire.COMMAND | IMMEDIATE}
EXTREMES: Final = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


@dataclass(frozen=True)
class Sent:
    """One PDU, and whether the session lives on."""

    fields: dict[str, object] = default(default_factory=dict)
    lives: bool | None = True
    """None: both are right, as long as it is decided."""
    reason: int | None = None
    """Of the Reject that answers it; None: there is none."""


def made(client: Client, fields: dict[str, object]) -> bytes:
    """The PDU; CmdSN and tag are the right ones unless the case says otherwise."""
    values = {"opcode": wire.COMMAND, "itt": client.next_tag(), "cmd_sn": client.cmd_sn} | fields
    opcode = values.pop("opcode")
    assert isinstance(opcode, int)
    if not opcode & IMMEDIATE and opcode not in (wire.DATA_OUT, wire.SNACK) and "cmd_sn" not in fields:
        client.cmd_sn += 1
    return pdu(opcode, **values)  # type: ignore[arg-type]


def opcodes() -> dict[str, Sent]:
    """Those that no initiator may send in full feature phase: Login, the target's own, unknown ones."""
    closing = {
        f"opcode {opcode:02X}h": Sent({"opcode": opcode}, lives=False, reason=PROTOCOL_ERROR)
        for opcode in (wire.LOGIN, *range(0x20, 0x40))
    }
    unknown = {f"opcode {opcode:02X}h": Sent({"opcode": opcode}, reason=NOT_SUPPORTED) for opcode in range(7, 0x20)}
    return closing | unknown


LUNS: Final = {
    "peripheral, bus 0, LUN 255": 0x00FF << 48,
    "peripheral, bus 63": 0x3F00 << 48,
    "flat space, LUN 0": 0x4000 << 48,
    "flat space, LUN 16383": 0x7FFF << 48,
    "logical unit addressing": 0x8000 << 48,
    "extended, well known REPORT LUNS": 0xC101 << 48,
    "extended, not specified": 0xFFFF << 48,
    "second level": 0x0000_0001_0000_0000,
    "third level": 0x0000_0000_0001_0000,
    "fourth level": 0x0000_0000_0000_0001,
    "all ones": 0xFFFFFFFFFFFFFFFF,
}

HEADERS: Final = opcodes() | {
    **{f"LUN: {name}": Sent(READ | {"lun": lun}) for name, lun in LUNS.items()},
    **{
        f"REPORT LUNS at {name}": Sent({"cdb": b"\xa0" + bytes(8) + b"\x10", "lun": lun, "flags": 0xC1, "edtl": 16})
        for name, lun in LUNS.items()
    },
    **{
        f"task management at LUN {name}": Sent({"opcode": 0x42, "flags": 0x85, "lun": lun})
        for name, lun in LUNS.items()
    },
    **{f"Initiator Task Tag {tag:08X}h": Sent(READ | {"itt": tag}, lives=None) for tag in EXTREMES},
    **{f"expected length {length:08X}h of a read": Sent(READ | {"edtl": length}) for length in EXTREMES},
    **{
        f"expected length {length:08X}h of INQUIRY": Sent(
            {"cdb": bytes([0x12, 0, 0, 0xFF, 0xFF, 0]), "flags": FINAL | wire.READ_BIT, "edtl": length}
        )
        for length in EXTREMES
    },
    **{
        f"expected length {length:08X}h of REPORT LUNS with allocation length FFFFFFFFh": Sent(
            {"cdb": b"\xa0" + bytes(5) + b"\xff" * 4, "flags": FINAL | wire.READ_BIT, "edtl": length}
        )
        for length in EXTREMES
    },
    **{f"ExpStatSN {number:08X}h": Sent(READ | {"exp_stat_sn": number}) for number in EXTREMES},
    **{f"task attribute {number}": Sent(READ | {"flags": 0xC0 | number}) for number in range(8)},
    **{f"command flags {flags:02X}h": Sent(READ | {"flags": flags}, lives=None) for flags in range(0, 0x100, 0x10)},
    "CmdSN below the window": Sent(READ | {"cmd_sn": 0}),
    "CmdSN 2^31 below the window": Sent(READ | {"cmd_sn": 0x80000001}, lives=None),
    "CmdSN above the window": Sent(READ | {"cmd_sn": 0x1000}),
    "CmdSN that leaves a gap": Sent(READ | {"cmd_sn": 100}, lives=False),
    "immediate CmdSN of another time": Sent(IMMEDIATE_READ | {"cmd_sn": 0xDEADBEEF}),
    "16 MiB of immediate data announced": Sent(READ | {"length": 0xFFFFFF}, lives=False, reason=PROTOCOL_ERROR),
    "one byte more than MaxRecvDataSegmentLength": Sent(READ | {"length": 262145}, lives=False, reason=PROTOCOL_ERROR),
    "data with a read": Sent(READ | {"data": b"1234"}, lives=False, reason=PROTOCOL_ERROR),
    "additional headers that nobody knows": Sent(READ | {"ahs": bytes([0, 1, 0x3F, 0])}),
    "an additional header of length 0": Sent(READ | {"ahs": bytes(4)}),
    "an additional header that runs past the end": Sent(
        READ | {"ahs": bytes([0xFF, 0xFF, 1, 0])}, reason=INVALID_FIELD
    ),
    "a second additional header that runs past the end": Sent(
        READ | {"ahs": bytes([0, 1, 0x3F, 0, 0, 2, 0x3F, 0])}, reason=INVALID_FIELD
    ),
    "255 words of additional headers": Sent(READ | {"ahs": bytes(1020)}),
    "an extended CDB": Sent(
        {"cdb": b"\x7f", "ahs": bytes([0, 17, 1, 0]) + bytes(16), "flags": FINAL | wire.READ_BIT, "edtl": 4096}
    ),
    "a bidirectional command without its second length": Sent(READ | {"flags": 0xE1}),
    "a bidirectional command of 4 GiB both ways": Sent(
        {"cdb": b"\x53", "ahs": bytes([0, 5, 2, 0]) + b"\xff" * 4, "flags": 0xE1, "edtl": 0xFFFFFFFF}
    ),
    "NOP-Out with its own TTT": Sent({"opcode": wire.NOP_OUT | IMMEDIATE, "ttt": 0x12345678}),
    "NOP-Out that answers no ping": Sent({"opcode": wire.NOP_OUT | IMMEDIATE, "itt": NO_TAG, "ttt": 0}),
    "NOP-Out without any tag": Sent({"opcode": wire.NOP_OUT | IMMEDIATE, "itt": NO_TAG, "ttt": NO_TAG}),
    "NOP-Out without F": Sent({"opcode": wire.NOP_OUT | IMMEDIATE, "flags": 0, "ttt": NO_TAG}),
    "NOP-Out with 256 KiB": Sent({"opcode": wire.NOP_OUT | IMMEDIATE, "data": bytes(262144), "ttt": NO_TAG}),
    "NOP-Out with additional headers": Sent({"opcode": wire.NOP_OUT | IMMEDIATE, "ahs": bytes(64), "ttt": NO_TAG}),
    "Text with a TTT of no exchange": Sent(
        {"opcode": wire.TEXT, "data": b"SendTargets=All\0", "ttt": 7}, reason=INVALID_FIELD
    ),
    "Text with F and C": Sent({"opcode": wire.TEXT, "flags": 0xC0, "ttt": NO_TAG}, reason=PROTOCOL_ERROR),
    "Text with the reserved tag": Sent({"opcode": wire.TEXT, "itt": NO_TAG, "ttt": NO_TAG}, reason=INVALID_FIELD),
    "Text with 200 KiB": Sent({"opcode": wire.TEXT, "data": b"a" * 200000, "ttt": NO_TAG}, reason=0x0A),
    "Text without '='": Sent({"opcode": wire.TEXT, "data": b"abc\0", "ttt": NO_TAG}, reason=PROTOCOL_ERROR),
    "Text that is not UTF-8": Sent(
        {"opcode": wire.TEXT, "data": b"SendTargets=\xff\0", "ttt": NO_TAG}, reason=PROTOCOL_ERROR
    ),
    "Text that logs in again": Sent(
        {"opcode": wire.TEXT, "data": b"InitiatorName=iqn.2026-11.io.goldherd.node:pc-2\0", "ttt": NO_TAG}
    ),
    "Text with MaxRecvDataSegmentLength=0": Sent(
        {"opcode": wire.TEXT, "data": b"MaxRecvDataSegmentLength=0\0", "ttt": NO_TAG}
    ),
    "Text with additional headers": Sent(
        {"opcode": wire.TEXT, "ahs": bytes(1020), "ttt": NO_TAG}, reason=INVALID_FIELD
    ),
    **{
        f"task management function {number}": Sent({"opcode": 0x42, "flags": FINAL | number})
        for number in (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 15, 127)
    },
    **{
        f"ABORT TASK of tag {tag:08X}h": Sent({"opcode": 0x42, "flags": 0x81, "referenced_tag": tag, "ref_cmd_sn": tag})
        for tag in EXTREMES
    },
    "task management with data": Sent({"opcode": 0x42, "flags": 0x81, "data": bytes(65536)}),
    "Logout of a connection that does not exist": Sent({"opcode": wire.LOGOUT | IMMEDIATE, "flags": 0x81, "cid": 99}),
    "Logout for recovery": Sent({"opcode": wire.LOGOUT | IMMEDIATE, "flags": 0x82}),
    "Logout with reason 127": Sent({"opcode": wire.LOGOUT | IMMEDIATE, "flags": 0xFF}),
    "Logout with data": Sent({"opcode": wire.LOGOUT, "data": bytes(8192)}, lives=False),
    **{
        f"SNACK of type {number}": Sent(
            {"opcode": wire.SNACK, "flags": FINAL | number, "beg_run": 0, "run_length": 0}, reason=NOT_SUPPORTED
        )
        for number in range(5)
    },
    "SNACK of everything": Sent(
        {"opcode": wire.SNACK, "itt": NO_TAG, "beg_run": 0xFFFFFFFF, "run_length": 0xFFFFFFFF}, reason=NOT_SUPPORTED
    ),
}


@pytest.mark.parametrize("sent", HEADERS.values(), ids=HEADERS)
def test_header(field: Field, sent: Sent) -> None:
    with field.enter() as client:
        client.send(made(client, sent.fields))
        if sent.lives is False:
            client.until_gone()
        elif sent.reason is not None:
            reject = client.receive()
            assert (reject.opcode, reject.reason) == (wire.REJECT, sent.reason)
            assert not client.until_pong()
        else:
            try:
                client.until_pong()
            except Gone:
                assert sent.lives is None, "the session did not live on"


@pytest.mark.parametrize("name", [name for name, sent in HEADERS.items() if sent.lives is False and sent.reason])
def test_the_reject_comes_before_the_end(field: Field, name: str) -> None:
    sent = HEADERS[name]
    with field.enter() as client:
        data = made(client, sent.fields)
        client.send(data)
        (reject,) = client.until_gone()
    assert (reject.opcode, reject.reason) == (wire.REJECT, sent.reason)
    assert reject.data[:48] == data[:48], "it holds the header of the refused PDU"


def test_a_tag_that_is_in_use(field: Field) -> None:
    """Reject 07h; the first command goes on (RFC 7143 11.2.1.8)."""
    with field.enter() as client:
        write = {"cdb": wire.cdb_write10(0, 8), "flags": FINAL | wire.WRITE_BIT, "edtl": 4096, "itt": 0x77}
        client.send(made(client, write) + made(client, write))
        answers = client.until_pong()
    assert [answer.opcode for answer in answers] == [wire.R2T, wire.REJECT]
    assert answers[1].reason == IN_PROGRESS


def test_every_header_of_one_byte_repeated(field: Field) -> None:
    """00..00 to FF..FF, each on a session of its own."""
    for byte in range(256):
        with field.enter() as client:
            client.send(bytes([byte]) * 4096)
            client.socket.shutdown(1)
            client.until_gone()


def test_text_exchange_without_end(field: Field) -> None:
    """C=1 again and again: the ceiling of a text holds in full feature phase too."""
    with field.enter() as client:
        tag = NO_TAG
        itt = client.next_tag()
        for _ in range(20):
            piece = {"opcode": wire.TEXT, "flags": 0x40, "itt": itt, "ttt": tag, "data": b"X" * 8192}
            client.send(made(client, piece))
            answer = client.receive()
            if answer.opcode == wire.REJECT:
                break
            tag = answer.field("ttt")
        assert answer.reason == PROTOCOL_ERROR
        assert not client.until_pong()


def test_wrong_digests(field: Field) -> None:
    """A header digest error ends the connection, for its lengths can't be trusted (RFC 7143 7.7)."""
    with field.connect() as client:
        initiator, target = field.herd.initiator("pc-1"), field.herd.iqn("pc-1")
        client.enter(initiator, target, HeaderDigest="CRC32C", DataDigest="CRC32C")
        client.send(client.command_pdu(bytes(6)) + b"\0\0\0\0")
        assert client.until_gone() == []
