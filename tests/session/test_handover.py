"""Sessions move from one reactor to another, at any moment of a command, and their initiators notice nothing."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from goldherd.block.file import FileImage
from goldherd.block.memory import MemoryImage
from goldherd.model.handover import MovedNumbers
from goldherd.reactor.events_out import CommandEvent, DoneEvent, EventQueue
from goldherd.reactor.handover import adopt_session, busy_sessions, export_sessions
from goldherd.reactor.inmemory import InMemoryReactor
from goldherd.scsi.fastpath.unit import HotNexus, HotUnit
from goldherd.session.phases import Phase
from goldherd.wire.opcodes import Opcode
from pydantic import TypeAdapter

from tests.session.conftest import PATTERN, warm
from tests.session.initiator import Initiator, data_of, only

Login = Callable[..., Initiator]
FORMAT = TypeAdapter(MovedNumbers)
NEW = bytes(reversed(PATTERN))


def hold(reactor: InMemoryReactor) -> None:
    """Holds a reactor; jobs that run come to their end."""
    reactor.hold(1)
    reactor.step()


def is_still(reactor: InMemoryReactor) -> bool:
    """Whether it has said that nothing is under way any more."""
    return any(isinstance(event, DoneEvent) and event.request_id == 1 for event in reactor.take_events())


def record_of(initiator: Initiator) -> MovedNumbers:
    """The record of an initiator's session, as the other process reads it."""
    ((numbers, _),) = export_sessions(initiator.reactor).values()
    return FORMAT.validate_json(FORMAT.dump_json(numbers))


def move(initiator: Initiator, *others: Initiator) -> InMemoryReactor:
    """The session goes to a new reactor, over the same disks."""
    before = initiator.reactor
    hold(before)
    while not is_still(before):
        initiator.wait()
        before.step()
    left = {each.connection: each.parse(before.sent(each.session_id, each.connection)) for each in (initiator, *others)}
    assert not any(left.values()), "what was answered before belongs to the old reactor"
    after = InMemoryReactor(0, EventQueue())
    take(after, initiator, record_of(initiator))
    for each in (initiator, *others):
        each.reactor, each.events = after, after.events
    return after


def take(after: InMemoryReactor, initiator: Initiator, numbers: MovedNumbers) -> None:
    """Another reactor adopts the session."""
    descriptors = {each.number: after.open_stream(initiator.session_id, each.number) for each in numbers.connections}
    nexuses = {number: HotNexus(unit, number) for number, unit in enumerate(initiator.units)}
    adopt_session(after, initiator.session_id, numbers, nexuses, descriptors)


def test_idle_session_goes_on(login: Login) -> None:
    initiator = login()
    assert data_of(initiator.status(initiator.read(0, 8))) == PATTERN[:4096]
    move(initiator)
    assert data_of(initiator.status(initiator.read(8, 8))) == PATTERN[4096:8192]
    assert only(initiator.status(initiator.write(3, NEW[:512]))).status == 0


def test_held_reactor_receives_nothing_and_goes_on_afterwards(login: Login) -> None:
    initiator = login()
    hold(initiator.reactor)
    assert is_still(initiator.reactor)
    assert initiator.send(initiator.read(0, 8)) == []
    assert initiator.reactor.unreceived(initiator.session_id) == 48
    initiator.reactor.tick(initiator.reactor.clock_ms + 3_600_000)
    assert initiator.reactor.is_open(initiator.session_id)
    initiator.reactor.go_on()
    assert data_of(initiator.status(b"")) == PATTERN[:4096]


def test_held_reactor_is_still_when_its_jobs_have_ended(login: Login, slow_disk: MemoryImage) -> None:
    initiator = login(slow_disk)
    initiator.reactor.defer_jobs()
    assert initiator.send(initiator.write(0, NEW[:512])) == []
    hold(initiator.reactor)
    assert not is_still(initiator.reactor)
    assert busy_sessions(initiator.reactor) == {initiator.session_id: {0}}
    with pytest.raises(RuntimeError, match="not still"):
        export_sessions(initiator.reactor)
    initiator.reactor.finish_job(0)
    assert is_still(initiator.reactor)
    after = InMemoryReactor(0, EventQueue())
    take(after, initiator, record_of(initiator))
    initiator.reactor = after
    assert only(initiator.send()).status == 0


def test_command_with_the_control_plane_is_answered_by_the_new_process(login: Login) -> None:
    initiator = login(flags=1)
    assert initiator.send(initiator.command(bytes(6))) == []
    (event,) = initiator.post()
    assert isinstance(event, CommandEvent)
    hold(initiator.reactor)
    assert not is_still(initiator.reactor)
    initiator.reactor.reply(event.session_id, event.tag, 2, bytes(18), b"")
    move(initiator)
    answer = only(initiator.send())
    assert (answer.status, answer.data) == (2, b"\0\x12" + bytes(18))


@pytest.mark.parametrize("digests", [False, True])
@pytest.mark.parametrize("cut", [0, 20, 48, 52, 4096, 8192 + 48, 65535])
def test_write_moves_at_any_byte_of_its_data_out(login: Login, digests: bool, cut: int) -> None:
    initiator = login(header_digest=digests, data_digest=digests, initial_r2t=True, immediate_data=False)
    pdu = only(initiator.send(initiator.write(0, NEW[:131072], sent=0)))
    assert pdu.opcode == Opcode.READY_TO_TRANSFER
    itt = initiator.numbers.itt
    first = initiator.data_out(itt, 0, NEW[:65536], ttt=pdu.ttt, final=False)
    assert initiator.send(first[:cut]) == []
    move(initiator)
    assert initiator.send(first[cut:]) == []
    move(initiator)
    last = initiator.data_out(itt, 65536, NEW[65536:131072], ttt=pdu.ttt, data_sn=1)
    assert only(initiator.status(last)).status == 0
    assert data_of(initiator.status(initiator.read(0, 256))) == NEW[:131072]


def test_write_of_several_bursts_moves_between_them(login: Login) -> None:
    initiator = login(initial_r2t=True, immediate_data=False, max_burst=65536, first_burst=8192)
    pdus = initiator.send(initiator.write(0, NEW[:262144], sent=0))
    itt = initiator.numbers.itt
    for offset in range(0, 262144, 65536):
        r2t = only(pdus)
        assert (r2t.offset, r2t.desired_length) == (offset, 65536)
        move(initiator)
        pdus = initiator.send(initiator.data_out(itt, offset, NEW[offset : offset + 65536], ttt=r2t.ttt))
    assert only(pdus).status == 0
    assert data_of(initiator.status(initiator.read(0, 512))) == NEW[:262144]


@pytest.mark.parametrize("cut", [47, 48, 5000, 70000])
def test_unsolicited_data_moves(login: Login, cut: int) -> None:
    initiator = login()
    stream = initiator.write(0, NEW[:131072], sent=65536, final=False)
    itt = initiator.numbers.itt
    stream += initiator.data_out(itt, 65536, NEW[65536:131072])
    assert initiator.send(stream[:cut]) == []
    move(initiator)
    assert only(initiator.status(stream[cut:])).status == 0
    assert data_of(initiator.status(initiator.read(0, 256))) == NEW[:131072]


@pytest.mark.parametrize("taken", [0, 1, 47, 48, 100_000, 262_144, 1_000_000])
def test_slow_reader_gets_the_rest_from_the_new_process(login: Login, taken: int) -> None:
    initiator = login()
    initiator.reactor.full_after(initiator.session_id, taken)
    pdus = initiator.send(b"".join(initiator.read(lba, 2048) for lba in (0, 2048, 0)))
    before = initiator.reactor
    hold(before)
    assert is_still(before)
    after = InMemoryReactor(0, EventQueue())
    take(after, initiator, record_of(initiator))
    initiator.reactor = after
    pdus += initiator.until(lambda found: sum(pdu.ends_command for pdu in [*pdus, *found]) == 3)
    for number in range(3):
        data = data_of([pdu for pdu in pdus if pdu.itt == 101 + number])
        assert data == (PATTERN[: 1 << 20], PATTERN[1 << 20 : 2 << 20], PATTERN[: 1 << 20])[number]


def test_slow_path_answer_longer_than_a_segment_moves_half_sent(login: Login) -> None:
    initiator = login(flags=1, max_send_data_segment=512, max_burst=1024)
    reply = bytes(range(256)) * 16
    initiator.reactor.full_after(initiator.session_id, 700)
    initiator.send(initiator.command(b"\xa3", expected=len(reply)))
    (event,) = initiator.post()
    assert isinstance(event, CommandEvent)
    initiator.reactor.reply(event.session_id, event.tag, 0, b"", reply)
    pdus = initiator.send()
    hold(initiator.reactor)
    after = InMemoryReactor(0, EventQueue())
    take(after, initiator, record_of(initiator))
    initiator.reactor = after
    pdus += initiator.status(b"")
    assert data_of(pdus) == reply


def test_partial_header_moves(login: Login) -> None:
    initiator = login()
    read = initiator.read(0, 8)
    assert initiator.send(read[:11]) == []
    move(initiator)
    assert data_of(initiator.status(read[11:])) == PATTERN[:4096]


def test_session_of_several_connections_moves_with_its_gap(login: Login) -> None:
    first = login()
    second = Initiator(joins=first, connection=1)
    early = second.read(0, 8, cmd_sn=first.cmd_sn + 1)
    assert second.send(early) == []
    move(first, second)
    assert second.send() == []
    assert data_of(first.status(first.read(8, 8))) == PATTERN[4096:8192]
    assert data_of(second.status(b"")) == PATTERN[:4096]


def test_skipped_number_stays_skipped(login: Login) -> None:
    first = login()
    second = Initiator(joins=first, connection=1)
    lost = first.cmd_sn
    first.cmd_sn += 1
    reactor = first.reactor
    later = first.cmd_sn
    reactor.abort_task(5, first.session_id, 77, lost + 1, lost + 2)
    reactor.step()
    assert reactor.take_events() == [DoneEvent(5, 1)]
    move(first, second)
    first.cmd_sn = lost
    assert data_of(first.status(first.read(0, 8))) == PATTERN[:4096]
    first.cmd_sn = later + 1
    assert data_of(first.status(first.read(8, 8))) == PATTERN[4096:8192]


def test_old_target_transfer_tag_is_no_key_to_another_command(login: Login) -> None:
    initiator = login(initial_r2t=True, immediate_data=False)
    r2t = only(initiator.send(initiator.write(0, NEW[:4096], sent=0)))
    itt = initiator.numbers.itt
    move(initiator)
    other = only(initiator.send(initiator.write(64, NEW[:4096], sent=0)))
    assert initiator.send(initiator.data_out(itt, 0, NEW[:4096], ttt=other.ttt ^ 0x100000)) == []
    assert initiator.reactor.counters()["dropped"] == 1
    assert only(initiator.send(initiator.data_out(itt, 0, NEW[:4096], ttt=r2t.ttt))).status == 0
    assert only(initiator.send(initiator.data_out(itt + 1, 0, NEW[:4096], ttt=other.ttt))).status == 0


@pytest.mark.parametrize(
    ("what", "changed"),
    [
        ("does not move", {"phase": Phase.PHASE_POOL}),
        ("purpose", {"purpose": 9}),
        ("not on the disk", {"offset": 1 << 40}),
        ("without a disk", {"nexus": None}),
        ("without a buffer", {"room": 0, "content": b""}),
    ],
)
def test_record_that_can_not_be_is_refused(login: Login, what: str, changed: dict[str, object]) -> None:
    initiator = login(initial_r2t=True, immediate_data=False)
    initiator.send(initiator.write(0, NEW[:4096], sent=0))
    hold(initiator.reactor)
    numbers = record_of(initiator)
    wrong = replace(numbers, tasks=(replace(numbers.tasks[0], **changed),))
    with pytest.raises(ValueError, match=what):
        take(InMemoryReactor(0, EventQueue()), initiator, wrong)


@pytest.mark.parametrize(
    "changed",
    [
        {"received": 4097},
        {"allowed": 1 << 20},
        {"chunk": 1 << 24},
        {"done": 8192},
        {"offset": 1 << 60, "move": 512},
        {"room": 1 << 30},
        {"itt": b"12345"},
        {"sense_bytes": 200},
        {"connection": 7},
    ],
)
def test_record_that_breaks_a_bound_is_refused(login: Login, changed: dict[str, object]) -> None:
    initiator = login(initial_r2t=True, immediate_data=False)
    initiator.send(initiator.write(0, NEW[:4096], sent=0))
    hold(initiator.reactor)
    numbers = record_of(initiator)
    with pytest.raises(ValueError, match="validation error"):
        replace(numbers, tasks=(replace(numbers.tasks[0], **changed),))


def test_unit_of_the_new_process_is_another(login: Login, file_of: Callable[..., FileImage]) -> None:
    initiator = login()
    hold(initiator.reactor)
    numbers = record_of(initiator)
    after = InMemoryReactor(0, EventQueue())
    initiator.units = [HotUnit(warm(file_of(NEW)))]
    take(after, initiator, numbers)
    initiator.reactor = after
    assert data_of(initiator.status(initiator.read(0, 8))) == NEW[:4096]
