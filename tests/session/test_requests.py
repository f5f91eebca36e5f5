"""PDUs that are no SCSI commands: NOP, Text, Logout, task management, and those nobody knows (RFC 7143 11)."""

from collections.abc import Callable

import pytest
from goldherd.limits import PING_SECONDS, SILENCE_SECONDS
from goldherd.reactor.events_out import ClosedEvent, RequestEvent
from goldherd.session.codes import CloseReason
from goldherd.wire.opcodes import Opcode, RejectReason

from tests.session.initiator import NO_TAG, Initiator, only

Login = Callable[..., Initiator]


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 512, 8192, 100000])
@pytest.mark.parametrize("immediate", [True, False])
def test_a_nop_out_is_echoed(login: Login, length: int, immediate: bool) -> None:
    initiator = login(data_digest=True)
    pdu = only(initiator.send(initiator.other(Opcode.NOP_OUT, itt=4, data=bytes(length), immediate=immediate)))
    assert (pdu.opcode, pdu.itt, pdu.ttt, pdu.data) == (Opcode.NOP_IN, 4, NO_TAG, bytes(length))


def test_the_echo_stops_at_the_initiators_segment_length(login: Login) -> None:
    initiator = login(max_send_data_segment=512)
    assert len(only(initiator.send(initiator.other(Opcode.NOP_OUT, data=bytes(4000)))).data) == 512


def test_a_nop_out_without_a_tag_is_not_answered(login: Login) -> None:
    initiator = login()
    assert not initiator.send(initiator.other(Opcode.NOP_OUT, itt=NO_TAG))
    assert initiator.open


def seconds_later(initiator: Initiator, seconds: int) -> None:
    """Lets time pass."""
    initiator.reactor.tick(initiator.reactor.clock_ms + seconds * 1000)


def test_a_silent_initiator_is_pinged_once(login: Login) -> None:
    initiator = login()
    seconds_later(initiator, PING_SECONDS + 1)
    ping = only(initiator.send())
    assert (ping.opcode, ping.itt) == (Opcode.NOP_IN, NO_TAG)
    assert ping.ttt != NO_TAG
    seconds_later(initiator, 1)
    assert not initiator.send()


def test_who_has_never_answered_a_ping_is_kept(login: Login) -> None:
    """iPXE can't answer one."""
    initiator = login()
    for _ in range(10):
        seconds_later(initiator, SILENCE_SECONDS + 1)
    assert initiator.open


def test_who_answered_before_and_is_silent_now_is_gone(login: Login) -> None:
    initiator = login()
    seconds_later(initiator, PING_SECONDS + 1)
    ping = only(initiator.send())
    initiator.send(initiator.other(Opcode.NOP_OUT, itt=NO_TAG, ttt=ping.ttt))
    seconds_later(initiator, PING_SECONDS + 1)
    initiator.send()
    seconds_later(initiator, SILENCE_SECONDS - PING_SECONDS - 2)
    assert initiator.open
    seconds_later(initiator, 2)
    assert initiator.post() == [ClosedEvent(initiator.session_id, CloseReason.CLOSE_SILENT, 0, True)]


@pytest.mark.parametrize("opcode", [Opcode.TEXT_REQUEST, Opcode.LOGOUT_REQUEST, Opcode.TASK_MANAGEMENT_REQUEST])
@pytest.mark.parametrize("immediate", [True, False])
def test_requests_go_to_the_control_plane(login: Login, opcode: int, immediate: bool) -> None:
    initiator = login(data_digest=True, header_digest=True)
    segment = initiator.other(opcode, itt=6, data=b"text", immediate=immediate)
    assert not initiator.send(segment)
    event = initiator.event(RequestEvent)
    assert (event.header, event.data) == (segment[:48], b"text")
    pdu = only(initiator.answer(event, bytes([0x24, 0x80]), b"answer"))
    assert (pdu.opcode, pdu.data) == (Opcode.TEXT_RESPONSE, b"answer")
    assert initiator.reactor.live_tasks == 0


def test_a_request_may_be_settled_without_an_answer(login: Login) -> None:
    initiator = login()
    initiator.send(initiator.other(Opcode.TEXT_REQUEST))
    event = initiator.event(RequestEvent)
    initiator.reactor.send_pdu(event.session_id, b"", 0, event.tag)
    assert not initiator.send()
    assert initiator.reactor.live_tasks == 0


def test_a_request_above_64_kib_is_refused(login: Login) -> None:
    initiator = login()
    assert only(initiator.send(initiator.other(Opcode.TEXT_REQUEST, data=bytes(65537)))).reason == 0x0A
    assert initiator.open


def test_a_logout_response_closes_the_connection(login: Login) -> None:
    initiator = login()
    initiator.send(initiator.other(Opcode.LOGOUT_REQUEST) + initiator.read(0, 1))
    event = initiator.event(RequestEvent)
    pdus = initiator.answer(event, bytes([0x26, 0x80]), flags=3)
    assert [pdu.opcode for pdu in pdus] == [Opcode.LOGOUT_RESPONSE]
    assert not initiator.open


def test_the_segment_length_may_be_declared_anew(login: Login) -> None:
    initiator = login()
    initiator.send(initiator.other(Opcode.TEXT_REQUEST))
    event = initiator.event(RequestEvent)
    initiator.reactor.send_pdu(event.session_id, bytes([0x24, 0x80]) + bytes(46), 1, event.tag, 1024)
    assert [len(pdu.data) for pdu in initiator.send(initiator.read(0, 5))] == [0, 1024, 1024, 512]


def test_an_asynchronous_message_takes_a_stat_sn(login: Login) -> None:
    initiator = login()
    header = bytes([0x32, 0x80]) + bytes(14) + b"\xff" * 4 + bytes(28)
    initiator.reactor.send_pdu(initiator.session_id, header, 1)
    assert only(initiator.send()).opcode == Opcode.ASYNC_MESSAGE
    assert only(initiator.send(initiator.read(0, 1))).status == 0


@pytest.mark.parametrize(
    "pdu", [bytes(47), bytes(5) + (1).to_bytes(3, "big") + bytes(40), bytes(4) + b"\1" + bytes(43)]
)
def test_a_pdu_that_contradicts_itself_is_not_sent(login: Login, pdu: bytes) -> None:
    initiator = login()
    with pytest.raises(ValueError, match="header and a data segment"):
        initiator.reactor.send_pdu(initiator.session_id, pdu, 1)


@pytest.mark.parametrize("opcode", [0x06 + 1, 0x0F, 0x10, 0x11, 0x1C, 0x1F])
@pytest.mark.parametrize("immediate", [True, False])
def test_unknown_opcodes_are_rejected(login: Login, opcode: int, immediate: bool) -> None:
    """SNACK carries no CmdSN; the others use theirs up."""
    initiator = login()
    before = initiator.cmd_sn
    reject = only(initiator.send(initiator.other(opcode, immediate=immediate)))
    assert (reject.opcode, reject.reason) == (Opcode.REJECT, RejectReason.REJECT_COMMAND_NOT_SUPPORTED)
    if opcode == 0x10:
        initiator.cmd_sn = before
    assert only(initiator.send(initiator.read(0, 1))).status == 0


@pytest.mark.parametrize("opcode", [Opcode.LOGIN_REQUEST, *range(0x20, 0x40)])
def test_logins_and_target_opcodes_end_the_connection(login: Login, opcode: int) -> None:
    initiator = login()
    assert only(initiator.send(initiator.other(opcode))).reason == 4
    assert not initiator.open
