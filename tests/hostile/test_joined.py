"""Sessions of several connections that misuse what they share: gaps, held bytes, numbers, each other's tasks."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import pytest

from tests.hostile import wire
from tests.hostile.client import Client, Gone
from tests.hostile.field import CONNECTIONS, NODE, Field
from tests.hostile.wire import FINAL, IMMEDIATE, NO_TAG, READ_BIT, WRITE_BIT, pdu

Pair = tuple[Client, Client]
MANY: Final = {"MaxConnections": str(CONNECTIONS)}
RECEIVE_BYTES: Final = 4096
FAR: Final = 100
"""A number so far behind the next one is still in the window."""


def read(client: Client, *, ahead: int = 0, **fields: int) -> bytes:
    """READ(10) of 4 KiB with the number `ahead` of the next one, which stays the next one."""
    return pdu(
        wire.COMMAND,
        cdb=wire.cdb_read10(0, 8),
        flags=FINAL | READ_BIT | 1,
        **{"edtl": 4096, "itt": client.next_tag(), "cmd_sn": client.cmd_sn + ahead} | fields,
    )


def write(client: Client, data: bytes, *, ahead: int = 0, whole: int | None = None, flags: int = FINAL) -> bytes:
    """WRITE(10) with immediate data."""
    length = len(data) if whole is None else whole
    return pdu(
        wire.COMMAND,
        data,
        cdb=wire.cdb_write10(0, length // 512),
        flags=flags | WRITE_BIT | 1,
        edtl=length,
        itt=client.next_tag(),
        cmd_sn=client.cmd_sn + ahead,
    )


def manage(client: Client, function: int, **fields: int) -> bytes:
    return pdu(
        wire.TASK_MANAGEMENT | IMMEDIATE,
        flags=FINAL | function,
        **{"itt": client.next_tag(), "cmd_sn": client.cmd_sn, "referenced_tag": NO_TAG} | fields,
    )


LOGGED_OUT: Final = (
    "logout of the other connection in the middle of its command",
    "logout of the same connection a hundred times",
)
"""Cases after which the first connection stays alone, and its session with it."""

CASES: Final[dict[str, Callable[[Pair], None]]] = {
    "a gap that never closes": lambda ends: ends[1].send(read(ends[1], ahead=1)),
    "a gap of a whole window": lambda ends: ends[1].send(
        b"".join(read(ends[1], ahead=number) for number in range(1, 128))
    ),
    "16 MiB behind a gap": lambda ends: ends[1].pour(
        b"".join(write(ends[1], bytes(8192), ahead=1 + number % 127) for number in range(2000))
    ),
    "gaps on both sides": lambda ends: on_both(ends, lambda end, at: read(end, ahead=2 + at)),
    "the same number on both sides": lambda ends: on_both(ends, lambda end, _: read(end)),
    "the same tag on both sides": lambda ends: on_both(ends, lambda end, at: read(end, ahead=at, itt=77)),
    "20000 pings behind a gap": lambda ends: ends[1].pour(
        read(ends[1], ahead=1) + pdu(wire.NOP_OUT | IMMEDIATE, itt=5, ttt=NO_TAG, cmd_sn=ends[1].cmd_sn) * 20000
    ),
    "64 pings of 8 KiB behind a gap": lambda ends: ends[1].pour(
        read(ends[1], ahead=1)
        + pdu(wire.NOP_OUT | IMMEDIATE, bytes(8192), itt=5, ttt=NO_TAG, cmd_sn=ends[1].cmd_sn) * 64
    ),
    "a PDU that lies about its length behind a gap": lambda ends: ends[1].send(
        read(ends[1], ahead=1) + pdu(wire.NOP_OUT | IMMEDIATE, length=0xFFFFFF, cmd_sn=ends[1].cmd_sn)
    ),
    "half a command behind a gap": lambda ends: ends[1].send(read(ends[1], ahead=1) + read(ends[1], ahead=2)[:20]),
    "a command of 200 KiB, half of it, at a gap": lambda ends: ends[1].send(
        write(ends[1], bytes(200 << 10), ahead=1)[: 100 << 10]
    ),
    "Data-Out for a task of the other connection": lambda ends: data_of_the_other(ends),
    "Data-Out of a command that waits, and of nobody": lambda ends: ends[1].send(
        write(ends[1], b"", ahead=1, whole=8192, flags=0)
        + pdu(wire.DATA_OUT, bytes(8192), itt=ends[1].itt, ttt=NO_TAG)
        + pdu(wire.DATA_OUT, bytes(512), itt=0x9999, ttt=NO_TAG)
        + pdu(wire.DATA_OUT, bytes(512), itt=ends[1].itt, ttt=0x1234)
    ),
    "LOGICAL UNIT RESET of a number to come": lambda ends: ends[1].send(
        manage(ends[1], 5, cmd_sn=ends[1].cmd_sn + FAR)
    ),
    "ABORT TASK SET far outside the window": lambda ends: ends[1].send(
        manage(ends[1], 2, cmd_sn=ends[1].cmd_sn + 0x7FFFFFF)
    ),
    "numbers skipped one by one": lambda ends: ends[0].send(
        b"".join(
            manage(ends[0], 1, referenced_tag=0x5555, ref_cmd_sn=ends[0].cmd_sn + number, cmd_sn=ends[0].cmd_sn + 127)
            for number in range(126, -1, -1)
        )
    ),
    "numbers skipped without a bound": lambda ends: ends[0].send(
        b"".join(
            manage(ends[0], 1, referenced_tag=0x5555, ref_cmd_sn=number * 0x1234567, cmd_sn=number * 0x7654321)
            for number in range(500)
        )
    ),
    "commands numbered in falling order": lambda ends: ends[1].send(
        b"".join(read(ends[1], ahead=number) for number in range(60, -1, -1))
    ),
    LOGGED_OUT[0]: lambda ends: log_out_other(ends),
    "logout of every CID": lambda ends: ends[0].send(
        b"".join(
            pdu(wire.LOGOUT | IMMEDIATE, flags=FINAL | 1, itt=ends[0].next_tag(), cid=cid, cmd_sn=ends[0].cmd_sn)
            for cid in range(60000, 60100)
        )
    ),
    LOGGED_OUT[1]: lambda ends: log_out_other(ends, times=100),
    "TARGET COLD RESET at a gap": lambda ends: ends[1].send(read(ends[1], ahead=1) + manage(ends[1], 7)),
}


def on_both(ends: Pair, make: Callable[[Client, int], bytes]) -> None:
    """The same on each connection; `make` gets its place, 0 or 1."""
    for place, end in enumerate(ends):
        end.send(make(end, place))


def data_of_the_other(ends: Pair) -> None:
    """RFC 7143 4.2.1: data goes with its command's connection."""
    ends[0].send(write(ends[0], b"", whole=65536))
    while (r2t := ends[0].receive()).opcode != wire.R2T:
        pass
    ends[1].send(pdu(wire.DATA_OUT, bytes(65536), itt=r2t.field("itt"), ttt=r2t.field("ttt")))


def log_out_other(ends: Pair, times: int = 1) -> None:
    """By the first connection, which waits for the first answer."""
    ends[1].send(write(ends[1], b"", whole=65536))
    ends[0].send(
        b"".join(
            pdu(wire.LOGOUT | IMMEDIATE, flags=FINAL | 1, itt=ends[0].next_tag(), cid=5, cmd_sn=ends[0].cmd_sn)
            for _ in range(times)
        )
    )
    while ends[0].receive().opcode != 0x26:
        pass


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_two_connections(field: Field, case: Callable[[Pair], None]) -> None:
    with field.enter(**MANY) as first, field.join(first, 5) as second:
        case((first, second))
        field.check_unhurt()


@pytest.mark.parametrize("name", CASES)
def test_one_of_two_connections_is_cut(field: Field, name: str) -> None:
    """At ErrorRecoveryLevel 0 both end, whatever they were at; unless that one was logged out before."""
    with field.enter(**MANY) as first, field.join(first, 5) as second:
        CASES[name]((first, second))
        second.reset()
        if name in LOGGED_OUT:
            first.until_pong()
        else:
            first.until_gone()


def test_every_connection_full_behind_gaps(field: Field) -> None:
    """All that a session may have, each with more than is held for it, its answers never read."""
    with ExitStack() as stack:
        first = stack.enter_context(field.enter(receive_bytes=RECEIVE_BYTES, **MANY))
        ends = [stack.enter_context(field.join(first, cid, receive_bytes=RECEIVE_BYTES)) for cid in range(2, 9)]
        for end in ends:
            end.pour(b"".join(write(end, bytes(8192), ahead=1 + number % 127) for number in range(300)))
        field.check_unhurt()


def test_connections_are_replaced_without_end(field: Field) -> None:
    """Each in the middle of something; the last one and the first still work."""
    with ExitStack() as stack:
        first = stack.enter_context(field.enter(**MANY))
        for number in range(150):
            second = stack.enter_context(field.join(first, 3))
            second.send(read(second, ahead=1) if number % 3 == 0 else write(second, b"", whole=65536)[: number % 48])
        last = stack.enter_context(field.join(first, 3))
        assert not first.until_pong() and not last.until_pong()


def test_a_stranger_can_not_join(field: Field) -> None:
    """Whatever it guesses, it learns that there is no such session."""
    with field.enter(**MANY) as first:
        for node, tsih, isid in (
            ("pc-3", first.tsih, first.isid),
            (NODE, first.tsih ^ 1, first.isid),
            (NODE, first.tsih, first.isid ^ 1),
        ):
            with field.connect() as stranger:
                names = wire.text(InitiatorName=field.herd.initiator(node), TargetName=field.herd.iqn(node))
                assert stranger.login(names, isid=isid, tsih=tsih, cid=9).login_status == 0x020A
        assert not first.until_pong()


def test_more_connections_than_agreed(field: Field) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(field.enter(**MANY))
        for cid in range(2, CONNECTIONS + 1):
            stack.enter_context(field.join(first, cid))
        with field.connect() as late:
            names = wire.text(InitiatorName=field.herd.initiator(NODE), TargetName=field.herd.iqn(NODE))
            answer = late.login(names, isid=first.isid, tsih=first.tsih, cid=CONNECTIONS + 1)
            assert answer.login_status == 0x0206
            with pytest.raises(Gone):
                late.receive()
        assert not first.until_pong()
