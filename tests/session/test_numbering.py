"""CmdSN, MaxCmdSN, StatSN and tags (RFC 7143 4.2.2); initiator.py checks StatSN and MaxCmdSN of every answer."""

from collections.abc import Callable

import pytest
from goldherd.block.memory import MemoryImage
from goldherd.limits import COMMAND_WINDOW
from goldherd.reactor.events_out import CommandEvent
from goldherd.wire.opcodes import Opcode, RejectReason

from tests.session.conftest import PATTERN
from tests.session.initiator import INQUIRY, Initiator, data_of, only

Login = Callable[..., Initiator]


def test_commands_are_counted(login: Login) -> None:
    initiator = login()
    answer = only(initiator.send(initiator.read(0, 1)))
    assert (answer.exp_cmd_sn, answer.max_cmd_sn) == (2, 1 + COMMAND_WINDOW)


@pytest.mark.parametrize("distance", [-1, -2, -1000, COMMAND_WINDOW, COMMAND_WINDOW + 7, 1 << 30])
def test_a_cmd_sn_outside_the_window_is_ignored(login: Login, distance: int) -> None:
    initiator = login(cmd_sn=5000)
    assert not initiator.send(initiator.read(0, 1, cmd_sn=5000 + distance))
    assert initiator.open
    assert only(initiator.send(initiator.read(0, 1))).exp_cmd_sn == 5001


def test_a_duplicate_cmd_sn_is_ignored(login: Login) -> None:
    initiator = login()
    assert initiator.send(initiator.read(0, 1))
    assert not initiator.send(initiator.read(0, 1, cmd_sn=1))
    assert initiator.send(initiator.read(0, 1))


def test_a_gap_on_the_only_connection_ends_it(login: Login) -> None:
    initiator = login()
    initiator.send(initiator.read(0, 1, cmd_sn=2))
    assert not initiator.open


def test_cmd_sn_wraps(login: Login) -> None:
    initiator = login(cmd_sn=0xFFFFFFFE)
    assert [only(initiator.send(initiator.read(0, 1))).exp_cmd_sn for _ in range(4)] == [0xFFFFFFFF, 0, 1, 2]


def test_stat_sn_wraps(login: Login) -> None:
    initiator = login(stat_sn=0xFFFFFFFE)
    assert [only(initiator.send(initiator.read(0, 1))).stat_sn for _ in range(4)] == [0xFFFFFFFE, 0xFFFFFFFF, 0, 1]


def test_an_immediate_command_uses_up_no_cmd_sn(login: Login) -> None:
    initiator = login()
    assert only(initiator.send(initiator.read(0, 1, immediate=True))).exp_cmd_sn == 1
    assert only(initiator.send(initiator.read(0, 1))).exp_cmd_sn == 2


def test_max_cmd_sn_stays_while_commands_are_held(login: Login) -> None:
    initiator = login()
    for _ in range(COMMAND_WINDOW):
        initiator.send(initiator.command(INQUIRY, expected=255))
    events = initiator.post()
    assert len(events) == COMMAND_WINDOW
    ping = only(initiator.send(initiator.other(Opcode.NOP_OUT)))
    assert ping.max_cmd_sn == ping.exp_cmd_sn - 1  # the window is closed
    assert not initiator.send(initiator.read(0, 1, cmd_sn=initiator.cmd_sn))
    for event in events:
        initiator.reply(event, 0, b"", b"inquiry")
    assert only(initiator.send(initiator.read(0, 1))).max_cmd_sn == initiator.cmd_sn - 1 + COMMAND_WINDOW


def test_max_cmd_sn_never_decreases_for_immediate_tasks(login: Login) -> None:
    initiator = login()
    first = only(initiator.send(initiator.other(Opcode.NOP_OUT)))
    for _ in range(20):
        initiator.send(initiator.command(INQUIRY, expected=255, immediate=True))
    assert only(initiator.send(initiator.other(Opcode.NOP_OUT))).max_cmd_sn == first.max_cmd_sn
    # What was told may be used, to the last number.
    pdus = initiator.send(b"".join(initiator.read(0, 1) for _ in range(COMMAND_WINDOW)))
    assert len(pdus) == COMMAND_WINDOW
    for event in initiator.post():
        initiator.reply(event)


def test_max_cmd_sn_never_decreases_when_a_read_waits(login: Login, slow_disk: MemoryImage) -> None:
    initiator = login(slow_disk)
    initiator.until(
        lambda pdus: sum(pdu.flags & 1 for pdu in pdus) == 3, b"".join(initiator.read(0, 2048) for _ in range(3))
    )


def test_too_many_immediate_commands_are_rejected(login: Login) -> None:
    initiator = login()
    pdus = initiator.send(b"".join(initiator.command(INQUIRY, immediate=True) for _ in range(COMMAND_WINDOW + 40)))
    assert [pdu.reason for pdu in pdus] == [RejectReason.REJECT_TOO_MANY_IMMEDIATE] * 8
    for event in initiator.post():
        initiator.reply(event)


@pytest.mark.parametrize("immediate", [False, True])
def test_the_tag_of_a_live_task_is_refused(login: Login, immediate: bool) -> None:
    initiator = login()
    initiator.send(initiator.command(INQUIRY, expected=255, itt=9))
    assert only(initiator.send(initiator.read(0, 1, itt=9, immediate=immediate))).reason == 7
    event = initiator.event(CommandEvent)
    assert only(initiator.reply(event, 0, b"", b"abc")).data == b"abc"
    assert data_of(initiator.send(initiator.read(0, 1, itt=9))) == PATTERN[:512]


def test_exp_data_sn_counts_data_in_and_r2t(login: Login) -> None:
    """RFC 7143 11.4.8."""
    initiator = login(max_burst=4096, first_burst=512, max_send_data_segment=512)
    pdus = initiator.send(initiator.write(0, bytes(8192), sent=0, itt=1))
    for offset in (0, 4096):
        for part in range(0, 4096, 1024):
            segment = initiator.data_out(
                1, offset + part, bytes(1024), ttt=pdus[-1].ttt, data_sn=part // 1024, final=part == 3072
            )
            pdus += initiator.send(segment)
    assert [pdu.opcode for pdu in pdus] == [Opcode.READY_TO_TRANSFER] * 2 + [Opcode.SCSI_RESPONSE]
    assert [pdu.data_sn for pdu in pdus] == [0, 1, 2]  # R2TSN, R2TSN, ExpDataSN
    initiator.send(initiator.command(INQUIRY, expected=2000))
    pdus = initiator.reply(initiator.post()[0], 2, b"sense", bytes(1500))
    assert [pdu.data_sn for pdu in pdus] == [0, 1, 2, 3]
