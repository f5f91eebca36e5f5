"""Commands of one session over several connections (RFC 7143 4.2.2.1): order, gaps, and what need not wait."""

from collections.abc import Callable

import pytest
from goldherd.block.memory import MemoryImage
from goldherd.limits import COMMAND_WINDOW, GAP_SECONDS, RECEIVE_BYTES, STALLED_BYTES_MAX
from goldherd.reactor.events_out import ClosedEvent, CommandEvent, DoneEvent, NumberedEvent, RequestEvent
from goldherd.session.codes import CloseReason
from goldherd.wire.opcodes import Opcode

from tests.session.conftest import PATTERN
from tests.session.initiator import INQUIRY, Initiator, Pdu, data_of, only

Login = Callable[..., Initiator]
Pair = tuple[Initiator, Initiator]
LUN_RESET, ABORT_TASK, ABORT_TASK_SET = 5, 1, 2


@pytest.fixture
def pair(login: Login) -> Pair:
    """Two connections of one session; the next command is number 1."""
    first = login()
    return first, Initiator(joins=first, connection=1)


def drive(ends: Pair, *segments: tuple[int, bytes]) -> tuple[list[Pdu], list[Pdu]]:
    """Sends segments in order, each on one of the two connections; what came on each."""
    found: tuple[list[Pdu], list[Pdu]] = ([], [])
    for number, segment in segments:
        found[number].extend(ends[number].send(segment))
        found[1 - number].extend(ends[1 - number].send())
    return found


def test_both_connections_share_one_numbering(pair: Pair) -> None:
    first, second = pair
    answers = [only(end.send(end.read(0, 1))) for end in (first, second, second, first)]
    assert [answer.exp_cmd_sn for answer in answers] == [2, 3, 4, 5]


def test_answers_go_where_the_command_came_from(pair: Pair) -> None:
    """RFC 7143 4.2.1: connection allegiance."""
    first, second = pair
    segment = second.read(8, 2)
    assert data_of(second.send(segment)) == PATTERN[8 * 512 : 10 * 512]
    assert not first.send()


def test_each_connection_has_its_own_stat_sn(pair: Pair) -> None:
    first, second = pair
    for _ in range(3):
        first.send(first.read(0, 1))
    assert only(second.send(second.read(0, 1))).stat_sn == 1


def test_a_command_waits_for_the_one_before_it(pair: Pair) -> None:
    first, second = pair
    early = first.read(0, 1), first.read(1, 1)
    assert not second.send(early[1])
    on_first, on_second = drive(pair, (0, early[0]))
    assert data_of(on_first) == PATTERN[:512]
    assert data_of(on_second) == PATTERN[512:1024]
    assert second.reactor.counters()["stalls"] == 1


def test_several_gaps_close_one_after_the_other(pair: Pair) -> None:
    first, second = pair
    one, two, three, four = (first.read(number, 1) for number in range(4))
    assert not second.send(two + four)
    on_first, on_second = drive(pair, (0, one))
    assert len(on_first) == len(on_second) == 1
    on_first, on_second = drive(pair, (0, three))
    assert data_of(on_first) == PATTERN[2 * 512 : 3 * 512]
    assert data_of(on_second) == PATTERN[3 * 512 : 4 * 512]


def test_commands_reach_the_control_plane_in_order(pair: Pair) -> None:
    first, second = pair
    one, two, three = (first.command(INQUIRY, expected=255, itt=number) for number in (1, 2, 3))
    drive(pair, (1, two), (1, three), (0, one))
    events = first.post()
    assert [event.cdb[:1] for event in events if isinstance(event, CommandEvent)] == [b"\x12"] * 3
    assert [event.itt.to_bytes(4, "little")[3] for event in events if isinstance(event, CommandEvent)] == [1, 2, 3]
    assert [event.connection for event in events if isinstance(event, CommandEvent)] == [0, 1, 1]
    for event in events:
        first.reply(event)
    second.send()


def test_a_waiting_command_may_come_in_pieces(pair: Pair) -> None:
    first, second = pair
    one, two = first.read(0, 1), first.write(16, bytes(8192))
    for at in range(0, len(two), 1000):
        assert not second.send(two[at : at + 1000])
    on_first, on_second = drive(pair, (0, one))
    assert only(on_second).status == 0
    assert len(on_first) == 1


def test_a_large_write_waits_before_its_data_is_whole(pair: Pair) -> None:
    """Its first bytes are here when it is next; the rest goes straight to its buffer."""
    first, second = pair
    one, two = first.read(0, 1), first.write(0, PATTERN[: 64 << 10])
    assert not second.send(two[:20000])
    drive(pair, (0, one))
    assert second.status(two[20000:])[-1].status == 0
    assert data_of(second.status(second.read(0, 128))) == PATTERN[: 64 << 10]


def test_an_immediate_command_does_not_wait(pair: Pair) -> None:
    """RFC 7143 4.2.2.1: it is delivered at once."""
    first, second = pair
    one, two = first.read(0, 1), first.read(1, 1)
    assert not second.send(two)
    ping = only(second.send(second.other(Opcode.NOP_OUT)))
    assert (ping.opcode, ping.exp_cmd_sn) == (Opcode.NOP_IN, 1)
    _, on_second = drive(pair, (0, one))
    assert data_of(on_second) == PATTERN[512:1024]


def test_immediate_commands_between_waiting_ones(pair: Pair) -> None:
    first, second = pair
    one, *rest = (first.read(number, 1) for number in range(5))
    segment = b"".join(part for each in rest for part in (each, second.other(Opcode.NOP_OUT)))
    assert [pdu.opcode for pdu in second.send(segment)] == [Opcode.NOP_IN] * 4
    _, on_second = drive(pair, (0, one))
    assert b"".join(pdu.data for pdu in on_second) == PATTERN[512 : 5 * 512]


def test_data_of_a_task_under_way_does_not_wait(login: Login) -> None:
    """Otherwise the write and the command behind it would wait for each other's connection."""
    first = login(max_burst=4096, first_burst=512)
    second = Initiator(joins=first, connection=1, max_burst=4096, first_burst=512)
    r2t = only(second.send(second.write(0, bytes(4096), sent=0, itt=1)))
    two, three = first.read(0, 1), first.read(1, 1)
    assert not second.send(three)
    assert only(second.send(second.data_out(1, 0, PATTERN[:4096], ttt=r2t.ttt))).status == 0
    _, on_second = drive((first, second), (0, two))
    assert data_of(on_second) == PATTERN[512:1024]


def test_unsolicited_data_waits_with_its_command(login: Login) -> None:
    first = login()
    second = Initiator(joins=first, connection=1)
    one = first.read(0, 1)
    two = first.write(4, PATTERN[:4096], sent=0, itt=2, final=False)
    data = b"".join(
        second.data_out(2, at, PATTERN[at : at + 1024], data_sn=at // 1024, final=at == 3072)
        for at in range(0, 4096, 1024)
    )
    assert not second.send(two + data)
    _, on_second = drive((first, second), (0, one))
    assert only(on_second).status == 0
    assert data_of(first.send(first.read(4, 8))) == PATTERN[:4096]


@pytest.mark.parametrize("digests", [False, True])
@pytest.mark.parametrize("piece", [1, 7, 48, 53, 500, 5000])
def test_a_stream_in_any_pieces(login: Login, piece: int, digests: bool) -> None:
    """Reads, writes, pings and Data-Out of 60 commands, split between two connections and into segments."""
    kinds = {"header_digest": digests, "data_digest": digests}
    first = login(**kinds)
    pair = first, Initiator(joins=first, connection=1, **kinds)
    streams = [b"", b""]
    for number in range(60):
        end = number * 7 % 3 % 2
        command = first.read(number, 1) if number % 4 else first.write(1000 + number, PATTERN[:512])
        streams[end] += command + (first.other(Opcode.NOP_OUT, data=b"ping") if number % 5 == 0 else b"")
    found: list[Pdu] = []
    while any(streams):
        for end in (0, 1):
            found += pair[end].send(streams[end][:piece])
            streams[end] = streams[end][piece:]
    found += pair[0].send() + pair[1].send()
    assert sum(pdu.ends_command for pdu in found) == 60
    assert sum(pdu.opcode == Opcode.NOP_IN for pdu in found) == 12
    assert sorted(pdu.data for pdu in found if pdu.opcode == Opcode.DATA_IN) == sorted(
        PATTERN[number * 512 : number * 512 + 512] for number in range(60) if number % 4
    )


def test_waiting_bytes_are_bounded_and_none_is_lost(pair: Pair) -> None:
    first, second = pair
    one = first.read(0, 1)
    stream = b"".join(first.write(lba * 16, bytes([lba]) * 8192) for lba in range(60))  # 480 KiB
    assert not second.send(stream)
    held = len(stream) - second.reactor.unreceived(second.session_id, 1)
    assert STALLED_BYTES_MAX <= held <= STALLED_BYTES_MAX + RECEIVE_BYTES
    _, on_second = drive(pair, (0, one))
    while len(on_second) < 60:
        on_second += second.send()
    assert [pdu.status for pdu in on_second] == [0] * 60
    assert data_of(first.status(first.read(59 * 16, 1))) == bytes([59]) * 512


def test_a_full_window_behind_a_gap(pair: Pair) -> None:
    first, second = pair
    one, *rest = (first.read(number, 1) for number in range(COMMAND_WINDOW))
    assert not second.send(b"".join(rest))
    beyond = second.read(7, 1)
    assert not second.send(beyond)  # outside the window: dropped when it is next
    _, on_second = drive(pair, (0, one))
    assert len(on_second) >= COMMAND_WINDOW - 1


def test_numbers_wrap_in_the_middle_of_a_gap(login: Login) -> None:
    first = login(cmd_sn=0xFFFFFFFE)
    pair = first, Initiator(joins=first, connection=1)
    one, two, three, four = (first.read(number, 1, cmd_sn=(0xFFFFFFFE + number) & 0xFFFFFFFF) for number in range(4))
    _, on_second = drive(pair, (1, two + three + four), (0, one))
    assert [pdu.exp_cmd_sn for pdu in on_second] == [0, 1, 2]


def test_a_gap_may_come_before_the_connection_that_closes_it(login: Login) -> None:
    """The initiator may use both as soon as it has the login response; events and sockets have no order."""
    first = login()
    first.reactor.expect_connection(9, first.session_id)
    one, two = first.read(0, 1), first.read(1, 1)
    assert not first.send(two)
    second = Initiator(joins=first, connection=1)
    on_second, on_first = drive((second, first), (0, one))
    assert (data_of(on_second), data_of(on_first)) == (PATTERN[:512], PATTERN[512:1024])


def test_a_gap_that_never_closes_ends_the_session(pair: Pair) -> None:
    first, second = pair
    first.send(first.read(0, 1))
    second.send(second.read(0, 1, cmd_sn=5))
    start = first.reactor.clock_ms
    first.reactor.tick(start + GAP_SECONDS * 1000 - 1)
    assert first.open and second.open
    first.reactor.tick(start + GAP_SECONDS * 1000 + 1)
    assert not first.open and not second.open
    events = first.post()
    assert {event.connection for event in events if isinstance(event, ClosedEvent)} == {0, 1}
    assert [event.last for event in events if isinstance(event, ClosedEvent)] == [False, True]


# --- task management ---


def manage(end: Initiator, function: int, *, cmd_sn: int) -> bytes:
    return end.other(Opcode.TASK_MANAGEMENT_REQUEST, flags=0x80 | function, cmd_sn=cmd_sn)


@pytest.mark.parametrize("function", [ABORT_TASK_SET, LUN_RESET])
def test_management_of_many_tasks_waits_for_those_before_it(pair: Pair, function: int) -> None:
    """RFC 7143 4.2.3.3: all commands numbered before it are meant, so they must have come."""
    first, second = pair
    one = first.command(INQUIRY, expected=255)
    second.send(manage(second, function, cmd_sn=2))
    assert not second.post()
    first.send(one)
    command, request = first.post()
    assert isinstance(command, CommandEvent) and isinstance(request, RequestEvent)
    assert command.serial < request.serial
    first.reply(command)
    second.answer(request, bytes([Opcode.TASK_MANAGEMENT_RESPONSE]))


def test_abort_task_does_not_wait(pair: Pair) -> None:
    first, second = pair
    second.send(first.read(0, 1, cmd_sn=2) + manage(second, ABORT_TASK, cmd_sn=2))
    second.answer(second.event(RequestEvent), bytes([Opcode.TASK_MANAGEMENT_RESPONSE]))
    assert first.send(first.read(0, 1, cmd_sn=1))


def test_tasks_numbered_after_the_request_are_not_meant(pair: Pair) -> None:
    """A command with a later number may arrive first, on another connection."""
    first, _ = pair
    drive(pair, (0, first.command(INQUIRY, expected=255)), (0, first.command(INQUIRY, expected=255)))
    before, after = first.post()
    assert isinstance(after, CommandEvent)
    first.reactor.abort_session_tasks(9, first.session_id, first.units[0], after.serial, 2)
    first.reactor.step()
    assert first.post() == [DoneEvent(9, 1)]
    assert not first.reply(before)  # ended without an answer
    assert only(first.reply(after)).status == 0


def test_the_number_of_a_lost_command_is_skipped(pair: Pair) -> None:
    """RFC 7143 11.5.1, ABORT TASK: "consider the CmdSN received"."""
    first, second = pair
    two = first.read(1, 1, cmd_sn=2)
    assert not second.send(two)
    first.reactor.abort_task(5, first.session_id, 0x77, ref_cmd_sn=1, cmd_sn=3)
    assert data_of(second.send()) == PATTERN[512:1024]
    assert first.post() == [DoneEvent(5, 1)]
    assert not first.send(first.read(0, 1, cmd_sn=1))  # it comes after all: a duplicate
    assert only(first.send(first.read(0, 1, cmd_sn=3))).exp_cmd_sn == 4


def test_numbers_behind_a_gap_are_skipped_when_it_closes(pair: Pair) -> None:
    first, second = pair
    for lost in (2, 3):
        first.reactor.abort_task(lost, first.session_id, 0x77, ref_cmd_sn=lost, cmd_sn=5)
    first.reactor.step()
    assert first.post() == [DoneEvent(2, 1), DoneEvent(3, 1)]
    assert not second.send(second.read(0, 1, cmd_sn=4))
    assert only(first.send(first.read(0, 1, cmd_sn=1))).exp_cmd_sn == 4
    assert only(second.send()).exp_cmd_sn == 5


@pytest.mark.parametrize("lost", [0, 3, 4, COMMAND_WINDOW + 1, 1 << 31])
def test_no_number_is_skipped_that_is_past_or_not_before_the_request(pair: Pair, lost: int) -> None:
    first, _ = pair
    first.send(first.read(0, 1))
    first.reactor.abort_task(5, first.session_id, 0x77, ref_cmd_sn=lost, cmd_sn=3)
    first.reactor.step()
    assert first.post() == [DoneEvent(5, 0)]
    assert only(first.send(first.read(0, 1))).exp_cmd_sn == 3


# --- the end of connections ---


def test_a_lost_connection_ends_the_session(pair: Pair) -> None:
    """ErrorRecoveryLevel 0 (RFC 7143 7.1.4.4)."""
    first, second = pair
    first.reactor.hang_up(first.session_id)
    assert not second.open
    assert first.post() == [
        ClosedEvent(7, CloseReason.CLOSE_PEER, 1, False),
        ClosedEvent(7, CloseReason.CLOSE_PEER, 0, True),
    ]


def test_a_connection_closed_alone_leaves_the_others(pair: Pair) -> None:
    first, second = pair
    first.send(first.command(INQUIRY, expected=255))
    second.send(second.command(INQUIRY, expected=255))
    lost, kept = first.post()
    first.reactor.close_connection(first.session_id, 0)
    first.reactor.step()
    assert not first.open and second.open
    assert second.post() == [ClosedEvent(7, CloseReason.CLOSE_ALONE, 0, False)]
    assert not second.reply(lost)
    assert only(second.reply(kept)).status == 0
    assert data_of(second.send(second.read(0, 1))) == PATTERN[:512]


def test_the_last_connection_takes_the_session_with_it(pair: Pair) -> None:
    first, _ = pair
    for connection in (0, 1):
        first.reactor.close_connection(first.session_id, connection)
    first.reactor.step()
    assert [event.last for event in first.post() if isinstance(event, ClosedEvent)] == [False, True]


def test_a_connection_takes_the_place_of_another(login: Login) -> None:
    """Connection reinstatement of the only connection: the session goes on, numbering and all."""
    first = login()
    first.send(first.read(0, 1))
    first.reactor.close_connection(first.session_id, 0, reinstated=True)
    first.reactor.step()
    assert first.post() == [ClosedEvent(7, CloseReason.CLOSE_ALONE, 0, False)]
    second = Initiator(joins=first, connection=1, reinstates=True)
    assert only(second.send(second.read(0, 1))).exp_cmd_sn == 3
    first.reactor.hang_up(first.session_id, 1)
    assert second.post() == [ClosedEvent(7, CloseReason.CLOSE_PEER, 1, True)]


def test_a_kept_place_that_nobody_takes(login: Login) -> None:
    first = login()
    first.reactor.close_connection(first.session_id, 0, reinstated=True)
    first.reactor.close_session(first.session_id)
    first.reactor.step()
    assert [event.last for event in first.post() if isinstance(event, ClosedEvent)] == [False, True]
    first.reactor.expect_connection(3, first.session_id)
    first.reactor.step()
    assert first.post() == [NumberedEvent(3, None)]


def test_a_kept_place_waits_for_jobs_of_the_old_connection(login: Login, slow_disk: MemoryImage) -> None:
    first = login(slow_disk)
    first.send(first.read(0, 8))
    first.reactor.close_connection(first.session_id, 0, reinstated=True)
    first.reactor.close_session(first.session_id)
    first.reactor.step()
    first.settle()
    assert [event.last for event in first.post() if isinstance(event, ClosedEvent)][-1]


def test_nobody_joins_a_session_that_has_ended(login: Login) -> None:
    first = login()
    first.reactor.close_session(first.session_id)
    first.reactor.step()
    first.post()
    late = Initiator(joins=first, connection=1)
    assert late.post() == [ClosedEvent(7, CloseReason.CLOSE_LOGOUT, 1, True)]
    assert not late.send(late.read(0, 1))


def test_a_connection_in_the_middle_of_a_gap_closes_alone(pair: Pair) -> None:
    """Its waiting commands go with it; the others are not held up by their numbers once those are skipped."""
    first, second = pair
    assert not second.send(second.read(0, 1, cmd_sn=2))
    first.reactor.close_connection(first.session_id, 1)
    assert only(first.send(first.read(0, 1, cmd_sn=1))).exp_cmd_sn == 2
    assert first.post() == [ClosedEvent(7, CloseReason.CLOSE_ALONE, 1, False)]
    first.reactor.abort_task(5, first.session_id, 0x77, ref_cmd_sn=2, cmd_sn=3)
    assert not first.send()
    assert only(first.send(first.read(0, 1, cmd_sn=3))).exp_cmd_sn == 4


def test_numbers_of_a_session(pair: Pair) -> None:
    first, _ = pair
    first.send(first.read(0, 1))
    first.reactor.expect_connection(9, first.session_id)
    first.reactor.step()
    assert first.post() == [NumberedEvent(9, (2, 1 + COMMAND_WINDOW))]


def test_many_connections_of_many_sessions_end_at_once(login: Login) -> None:
    """Connections that end while others are served are each served once."""
    leading = login()
    ends = [leading, *(Initiator(joins=leading, connection=connection) for connection in range(1, 8))]
    other = Initiator(units=leading.units, reactor=leading.reactor, session_id=8)
    for end in ends:
        end.reactor.full_after(end.session_id, 0, end.connection)
        end.send(end.read(0, 256))
    leading.reactor.hang_up(leading.session_id, 3)
    assert not any(end.open for end in ends)
    assert data_of(other.send(other.read(0, 1))) == PATTERN[:512]
    other.reactor.close_session(8)
    other.reactor.step()
