"""Ending tasks in every phase, drains and quiesced units (RFC 7143 4.2.3.3, 11.5)."""

from collections.abc import Callable

import pytest
from goldherd.block.file import FileImage
from goldherd.block.memory import MemoryImage
from goldherd.limits import WRITE_BUFFER_BYTES_MAX
from goldherd.reactor.events_out import ClosedEvent, CommandEvent, DoneEvent
from goldherd.session.codes import CloseReason
from goldherd.wire.opcodes import Opcode

from tests.session.conftest import PATTERN
from tests.session.gate import GateImage
from tests.session.initiator import INQUIRY, SYNCHRONIZE_CACHE, Initiator, data_of, only

Login = Callable[..., Initiator]


def as_kept(itt: int) -> int:
    """A tag as the core keeps it: the bytes of the wire, never interpreted."""
    return int.from_bytes(itt.to_bytes(4, "big"), "little")


def abort(initiator: Initiator, itt: int, request_id: int = 1) -> None:
    """ABORT TASK."""
    initiator.reactor.abort_task(request_id, initiator.session_id, as_kept(itt))
    initiator.reactor.step()


def waits_for_data_out(initiator: Initiator) -> None:
    only(initiator.send(initiator.write(0, bytes(8192), sent=0, itt=5)))


def waits_for_unsolicited_data(initiator: Initiator) -> None:
    assert not initiator.send(initiator.write(0, bytes(8192), sent=512, final=False, itt=5))


def is_inside_a_long_data_out(initiator: Initiator) -> None:
    r2t = only(initiator.send(initiator.write(0, bytes(65536), sent=0, itt=5)))
    segment = initiator.data_out(5, 0, bytes(65536), ttt=r2t.ttt)
    initiator.send(segment[:20000])
    initiator.outgoing = segment[20000:]


def waits_for_room(initiator: Initiator) -> None:
    for itt in range(1000, 1000 + (WRITE_BUFFER_BYTES_MAX >> 20)):
        initiator.send(initiator.write(0, bytes(1 << 20), sent=0, itt=itt))
    assert not initiator.send(initiator.write(0, bytes(1 << 20), sent=0, itt=5))


def waits_for_a_hold(initiator: Initiator) -> None:
    initiator.units[0].quiesce()
    assert not initiator.send(initiator.write(0, bytes(512), itt=5))


PHASES = [waits_for_data_out, waits_for_unsolicited_data, is_inside_a_long_data_out, waits_for_room, waits_for_a_hold]


@pytest.mark.parametrize("phase", PHASES)
def test_abort_task_ends_a_task_that(login: Login, phase: Callable[[Initiator], None]) -> None:
    initiator = login()
    phase(initiator)
    live = initiator.reactor.live_tasks
    abort(initiator, 5)
    assert initiator.post() == [DoneEvent(1, 1)]
    assert initiator.reactor.live_tasks == live - 1
    if phase is waits_for_a_hold:
        initiator.units[0].resume()
        initiator.reactor.wake()
    initiator.until(
        lambda pdus: any(pdu.opcode == Opcode.NOP_IN for pdu in pdus),
        initiator.outgoing + initiator.other(Opcode.NOP_OUT),
    )
    assert data_of(initiator.status(initiator.read(0, 16))) == PATTERN[:8192]
    abort(initiator, 5, 2)
    assert initiator.post() == [DoneEvent(2, 0)]


@pytest.mark.parametrize("phase", PHASES)
def test_the_end_of_the_session_ends_a_task_that(login: Login, phase: Callable[[Initiator], None]) -> None:
    initiator = login()
    phase(initiator)
    initiator.reactor.hang_up(initiator.session_id)
    assert initiator.post() == [ClosedEvent(initiator.session_id, CloseReason.CLOSE_PEER, 0, True)]
    assert (initiator.reactor.live_tasks, initiator.reactor.buffer_bytes, initiator.reactor.sessions) == (0, 0, 0)


@pytest.mark.parametrize("work", ["read", "write", "flush"])
def test_an_abort_is_done_when_the_running_job_is(work: str) -> None:
    image = GateImage(1 << 20)
    initiator = Initiator([image])
    segment = {
        "read": initiator.read(0, 8, itt=5),
        "write": initiator.write(0, b"x" * 512, itt=5),
        "flush": initiator.command(SYNCHRONIZE_CACHE, itt=5),
    }[work]
    initiator.cmd_sn = 2
    segment = segment[:24] + (1).to_bytes(4, "big") + segment[28:]
    assert not initiator.send(segment)
    image.wait_for_guest()
    abort(initiator, 5)
    initiator.reactor.drain(2, initiator.units[0])
    initiator.reactor.abort_unit_tasks(3, initiator.units[0])
    assert not initiator.send()
    assert not initiator.post()
    image.open()
    initiator.settle()
    assert initiator.post() == [DoneEvent(3, 0), DoneEvent(2, 0), DoneEvent(1, 1)]
    assert not initiator.send()
    assert only(initiator.send(initiator.other(Opcode.NOP_OUT))).opcode == Opcode.NOP_IN


def test_a_session_is_reported_closed_when_its_last_job_is_over() -> None:
    image = GateImage(1 << 20)
    first = Initiator([image])
    second = Initiator(reactor=first.reactor, session_id=8, units=first.units)
    first.send(first.write(0, b"x" * 512))
    image.wait_for_guest()
    first.reactor.hang_up(first.session_id)
    assert not first.open
    assert not first.post()
    # A unit reset of another session waits for the write of the one that is gone.
    second.reactor.abort_unit_tasks(9, second.units[0])
    second.send()
    assert not second.post()
    image.open()
    second.settle()
    assert second.post() == [DoneEvent(9, 0), ClosedEvent(first.session_id, CloseReason.CLOSE_PEER, 0, True)]
    first.reactor.forget(first.session_id)
    assert first.reactor.live_tasks == 0


def test_a_session_that_is_ended_twice_is_still_reported_closed_when_its_last_job_is_over() -> None:
    """First by its initiator, then by a session that takes its place."""
    image = GateImage(1 << 20)
    initiator = Initiator([image])
    initiator.send(initiator.write(0, b"x" * 512))
    image.wait_for_guest()
    initiator.reactor.hang_up(initiator.session_id)
    initiator.reactor.close_session(initiator.session_id)
    initiator.reactor.step()
    assert not initiator.post()
    image.open()
    initiator.settle()
    assert initiator.event(ClosedEvent).last


def test_a_feed_waits_for_its_jobs_before_it_goes() -> None:
    image = GateImage(1 << 20)
    initiator = Initiator([image])
    initiator.send(initiator.write(0, b"x" * 512))
    image.wait_for_guest()
    image.open_soon()
    del initiator
    assert image.read(0, 512) == b"x" * 512


def test_a_reply_after_an_abort_is_swallowed(login: Login) -> None:
    initiator = login()
    initiator.send(initiator.command(INQUIRY, expected=255, itt=5))
    event = initiator.event(CommandEvent)
    abort(initiator, 5)
    assert initiator.post() == [DoneEvent(1, 1)]
    # The tag may be used again at once, and the late reply doesn't answer the new task.
    initiator.send(initiator.command(INQUIRY, expected=255, itt=5))
    again = initiator.event(CommandEvent)
    assert not initiator.reply(event, 0, b"", b"old")
    assert only(initiator.reply(again, 0, b"", b"new")).data == b"new"


def test_a_reply_after_the_end_of_its_session_is_swallowed(login: Login) -> None:
    first = login()
    first.send(first.command(INQUIRY, expected=255))
    event = first.event(CommandEvent)
    first.reactor.hang_up(first.session_id)
    first.post()
    second = Initiator(reactor=first.reactor, session_id=8, units=first.units)
    second.send(second.command(INQUIRY, expected=255))
    first.reactor.reply(event.session_id, event.tag, 0, b"", b"old")
    first.reactor.reply(second.session_id, event.tag, 0, b"", b"old")  # a tag of another generation
    assert not second.send()
    again = second.event(CommandEvent)
    assert only(second.reply(again, 0, b"", b"new")).data == b"new"


def test_replies_given_twice_are_swallowed(login: Login) -> None:
    initiator = login()
    initiator.send(initiator.command(INQUIRY, expected=255))
    event = initiator.event(CommandEvent)
    assert initiator.reply(event, 0, b"", b"one")
    assert not initiator.reply(event, 0, b"", b"two")


def test_abort_task_set_spares_later_tasks_and_other_units(
    login: Login, disk: FileImage, slow_disk: MemoryImage
) -> None:
    initiator = login(disk, slow_disk)
    for itt, lun in [(1, 0), (2, 1), (3, 0)]:
        initiator.send(initiator.command(INQUIRY, expected=255, itt=itt, lun=lun))
    before, _, later = initiator.post()
    assert isinstance(later, CommandEvent)
    initiator.reactor.abort_session_tasks(1, initiator.session_id, initiator.units[0], later.serial - 1)
    initiator.reactor.step()
    assert initiator.post() == [DoneEvent(1, 1)]
    assert not initiator.reply(before)
    assert only(initiator.reply(later)).status == 0
    initiator.reactor.abort_session_tasks(2, initiator.session_id, None)
    initiator.reactor.step()
    assert initiator.post() == [DoneEvent(2, 1)]


def test_a_unit_reset_ends_the_tasks_of_every_session(login: Login) -> None:
    first = login()
    second = Initiator(reactor=first.reactor, session_id=8, units=first.units)
    for initiator in (first, second):
        waits_for_data_out(initiator)
    first.reactor.abort_unit_tasks(1, first.units[0])
    first.reactor.step()
    assert first.post() == [DoneEvent(1, 2)]
    assert first.reactor.live_tasks == 0


def test_writes_wait_while_a_unit_is_held_and_reads_do_not(login: Login) -> None:
    initiator = login()
    initiator.units[0].quiesce()
    assert not initiator.send(initiator.write(0, b"y" * 512))
    assert data_of(initiator.send(initiator.read(0, 1))) == PATTERN[:512]
    initiator.reactor.drain(1, initiator.units[0])
    initiator.reactor.step()
    assert initiator.post() == [DoneEvent(1, 0)]
    initiator.reactor.wake()
    assert not initiator.send()
    initiator.units[0].resume()
    initiator.reactor.wake()
    assert only(initiator.send()).status == 0
    assert data_of(initiator.send(initiator.read(0, 1))) == b"y" * 512


def test_a_write_in_the_pool_stops_at_a_hold_before_its_next_chunk(slow_disk: MemoryImage, login: Login) -> None:
    initiator = login(slow_disk, max_burst=4096, first_burst=4096)
    r2t = only(initiator.until(bool, initiator.write(0, bytes(8192), sent=4096, itt=5)))
    initiator.units[0].quiesce()
    assert not initiator.send(initiator.data_out(5, 4096, bytes(4096), ttt=r2t.ttt))
    initiator.reactor.drain(1, initiator.units[0])
    initiator.reactor.step()
    assert initiator.post() == [DoneEvent(1, 0)]
    assert slow_disk.read(4096, 512) == PATTERN[4096:4608]
    initiator.units[0].resume()
    initiator.reactor.wake()
    assert only(initiator.until(bool)).status == 0


def test_a_read_whose_answer_waits_for_the_socket_can_be_aborted(login: Login) -> None:
    initiator = login()
    initiator.reactor.full_after(initiator.session_id, 100)
    initiator.send(initiator.read(0, 8192, itt=5))
    abort(initiator, 5)
    assert initiator.post() == [DoneEvent(1, 1)]
    initiator.reactor.full_after(initiator.session_id, None)
    pdus = initiator.send(initiator.other(Opcode.NOP_OUT))
    assert pdus[-1].opcode == Opcode.NOP_IN
    assert not any(pdu.flags & 1 for pdu in pdus[:-1])
