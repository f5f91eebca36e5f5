"""Writes that find no space wait for it (docs/full-disks.md): without their data, tried again, failed in the end."""

import errno
from collections.abc import Callable

import pytest
from goldherd.block.memory import MemoryImage
from goldherd.limits import SPACE_REMINDER_MS, SPACE_RETRY_MS
from goldherd.reactor.events_out import FailedEvent
from goldherd.wire.opcodes import Opcode

from tests.session.conftest import DISK_BYTES, PATTERN
from tests.session.initiator import Initiator, Pdu, data_of, only
from tests.session.test_handover import move

Login = Callable[..., Initiator]
NEW = bytes(reversed(PATTERN))
HOLD_SECONDS = 30


class CrowdedImage(MemoryImage):
    """Takes writes below `room` only, as a file system that is full takes those to blocks that are there."""

    def __init__(self, error: int = errno.ENOSPC) -> None:
        super().__init__(DISK_BYTES)
        super().write(0, memoryview(PATTERN))
        self.room = 0
        self.error = error
        self.tries = 0

    def write(self, offset_bytes: int, data: memoryview) -> None:
        if offset_bytes + len(data) > self.room:
            self.tries += 1
            raise OSError(self.error, "no space")
        super().write(offset_bytes, data)


@pytest.fixture
def full() -> CrowdedImage:
    return CrowdedImage()


def held(login: Login, image: CrowdedImage, count: int = 1, length: int = 4096, **more: object) -> Initiator:
    """A session with so many writes that wait for space, tags 1 to `count`, each with its data unasked."""
    initiator = login(image, **more)
    initiator.reactor.set_full_disk_hold(HOLD_SECONDS)
    pdus = initiator.send(
        b"".join(initiator.write(n * 256, NEW[n * length : (n + 1) * length], itt=n + 1) for n in range(count))
    )
    initiator.settle()
    assert not pdus
    assert initiator.units[0].space_waits == count
    return initiator


def tick(initiator: Initiator, milliseconds: int) -> list[Pdu]:
    """What comes when so much time has passed at once."""
    initiator.reactor.tick(initiator.reactor.clock_ms + milliseconds)
    initiator.settle()
    return initiator.send()


def answer(initiator: Initiator, r2t: Pdu, length: int = 4096) -> list[Pdu]:
    """Sends what an R2T asks for; what came back by the time the disk had answered."""
    begin = (r2t.itt - 1) * length + r2t.offset
    data = NEW[begin : begin + r2t.desired_length]
    pdus = initiator.send(initiator.data_out(r2t.itt, r2t.offset, data, ttt=r2t.ttt))
    initiator.settle()
    return pdus + initiator.send()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_write_waits_until_there_is_space(login: Login, error: int) -> None:
    image = CrowdedImage(error)
    initiator = held(login, image)
    assert initiator.reactor.buffer_bytes == 0
    for _ in range(3):
        asks = only(tick(initiator, SPACE_RETRY_MS))
        assert (asks.opcode, asks.offset, asks.desired_length) == (Opcode.READY_TO_TRANSFER, 0, 4096)
        assert not answer(initiator, asks)
        assert initiator.units[0].full_since_ms
    image.room = DISK_BYTES
    assert only(answer(initiator, only(tick(initiator, SPACE_RETRY_MS)))).status == 0
    assert initiator.units[0].full_since_ms == 0
    assert data_of(initiator.status(initiator.read(0, 8))) == NEW[:4096]


def test_all_go_on_when_one_has_found_space(login: Login, full: CrowdedImage) -> None:
    initiator = held(login, full, count=5)
    first = only(tick(initiator, SPACE_RETRY_MS))
    full.room = DISK_BYTES
    assert only(answer(initiator, first)).status == 0
    others = tick(initiator, SPACE_RETRY_MS)
    assert sorted(pdu.itt for pdu in [first, *others]) == [1, 2, 3, 4, 5]
    for asks in others:
        assert only(answer(initiator, asks)).status == 0
    assert initiator.units[0].space_waits == 0
    for n in range(5):
        assert data_of(initiator.status(initiator.read(n * 256, 8))) == NEW[n * 4096 : (n + 1) * 4096]


def test_one_write_of_a_disk_is_tried_at_a_time(login: Login, full: CrowdedImage) -> None:
    initiator = held(login, full, count=20)
    tries = full.tries
    tried = []
    for _ in range(5):
        tried += [only(tick(initiator, SPACE_RETRY_MS))]
        assert not answer(initiator, tried[-1])
    assert len({pdu.itt for pdu in tried}) == 5
    assert full.tries == tries + 5


def test_initiator_sees_a_sign_of_each_command_that_waits(login: Login, full: CrowdedImage) -> None:
    """Linux asks for more time as long as a command has moved a PDU since it looked last."""
    initiator = held(login, full, count=4)
    seen: dict[int, int] = {}
    for _ in range(SPACE_REMINDER_MS // SPACE_RETRY_MS + 2):
        for asks in tick(initiator, SPACE_RETRY_MS):
            assert asks.opcode == Opcode.READY_TO_TRANSFER
            assert asks.desired_length in (512, 4096)
            assert asks.data_sn == seen.get(asks.itt, 0)  # R2TSN goes on (RFC 7143 11.8.1)
            seen[asks.itt] = asks.data_sn + 1
            assert not answer(initiator, asks)
    assert sorted(seen) == [1, 2, 3, 4]
    full.room = DISK_BYTES
    assert only(answer(initiator, tick(initiator, SPACE_RETRY_MS)[0])).status == 0
    for asks in tick(initiator, SPACE_RETRY_MS):
        assert asks.desired_length == 4096
        assert only(answer(initiator, asks)).status == 0
    for n in range(4):
        assert data_of(initiator.status(initiator.read(n * 256, 8))) == NEW[n * 4096 : (n + 1) * 4096]


def test_writes_that_need_no_space_reads_and_flushes_go_on(login: Login, full: CrowdedImage) -> None:
    initiator = held(login, full, count=3)
    full.room = 1 << 20
    assert only(initiator.status(initiator.write(100, NEW[:4096]))).status == 0
    assert data_of(initiator.status(initiator.read(100, 8))) == NEW[:4096]
    assert only(initiator.status(initiator.command(bytes([0x35]).ljust(16, b"\0")))).status == 0
    assert initiator.units[0].space_waits == 3
    assert initiator.units[0].full_since_ms


def test_writes_fail_when_their_time_is_over(login: Login, full: CrowdedImage) -> None:
    initiator = held(login, full, count=3)
    tick(initiator, HOLD_SECONDS * 1000)
    tick(initiator, SPACE_RETRY_MS)
    failed = {event.tag: event for event in initiator.reactor.take_events() if isinstance(event, FailedEvent)}
    assert {event.errno for event in failed.values()} == {errno.ENOSPC}
    assert len(failed) == 2  # the third was asked for its data, to be tried again
    for tag in failed:
        initiator.reactor.reply(initiator.session_id, tag, 2, b"sense", b"", 0)
    initiator.send(initiator.write(9, NEW[:512]))
    initiator.settle()
    event = next(each for each in initiator.reactor.take_events() if isinstance(each, FailedEvent))
    assert event.errno == errno.ENOSPC
    initiator.reactor.reply(initiator.session_id, event.tag, 2, b"sense", b"", 0)


def test_disk_that_met_no_lack_for_a_while_gets_its_whole_time_again(login: Login, full: CrowdedImage) -> None:
    initiator = held(login, full)
    tick(initiator, HOLD_SECONDS * 1000 + 120_000)
    initiator.reactor.step()
    since = initiator.units[0].full_since_ms
    initiator.send(initiator.write(9, NEW[:512]))
    initiator.settle()
    assert initiator.units[0].full_since_ms == since + HOLD_SECONDS * 1000 + 120_000


def test_nothing_is_held_without_a_hold_time(login: Login, full: CrowdedImage) -> None:
    initiator = login(full)
    initiator.send(initiator.write(9, NEW[:512]))
    initiator.settle()
    event = next(each for each in initiator.reactor.take_events() if isinstance(each, FailedEvent))
    assert event.errno == errno.ENOSPC
    initiator.reactor.reply(initiator.session_id, event.tag, 2, b"sense", b"", 0)
    assert initiator.units[0].space_waits == 0


def test_held_write_can_be_aborted(login: Login, full: CrowdedImage) -> None:
    initiator = held(login, full, count=3)
    initiator.reactor.abort_task(1, initiator.session_id, int.from_bytes((2).to_bytes(4), "little"))
    initiator.reactor.step()
    assert initiator.units[0].space_waits == 2
    full.room = DISK_BYTES
    done = [only(answer(initiator, only(tick(initiator, SPACE_RETRY_MS)))).itt for _ in range(2)]
    assert sorted(done) == [1, 3]
    assert data_of(initiator.status(initiator.read(256, 8))) == PATTERN[256 * 512 :][:4096]


def test_connection_with_held_writes_can_close(login: Login, full: CrowdedImage) -> None:
    initiator = held(login, full, count=3)
    initiator.reactor.close_session(initiator.session_id)
    initiator.reactor.step()
    assert initiator.units[0].space_waits == 0
    assert initiator.reactor.live_tasks == 0


def test_long_write_goes_on_where_it_stopped(login: Login, full: CrowdedImage) -> None:
    full.room = 65536
    initiator = login(full, max_burst=65536, first_burst=65536, initial_r2t=True, immediate_data=False)
    initiator.reactor.set_full_disk_hold(HOLD_SECONDS)
    data = NEW[: 3 * 65536]
    asks = only(initiator.until(bool, initiator.write(0, data, sent=0, itt=1)))
    asks = only(initiator.until(bool, initiator.data_out(1, 0, data[:65536], ttt=asks.ttt)))
    assert asks.offset == 65536
    assert not initiator.send(initiator.data_out(1, 65536, data[65536 : 2 * 65536], ttt=asks.ttt))
    initiator.settle()
    full.room = DISK_BYTES
    asks = only(tick(initiator, SPACE_RETRY_MS))
    assert (asks.offset, asks.desired_length) == (65536, 65536)
    asks = only(initiator.until(bool, initiator.data_out(1, 65536, data[65536 : 2 * 65536], ttt=asks.ttt)))
    assert asks.offset == 2 * 65536
    assert only(initiator.until(bool, initiator.data_out(1, 2 * 65536, data[2 * 65536 :], ttt=asks.ttt))).status == 0
    assert data_of(initiator.status(initiator.read(0, 384))) == data


def test_full_disk_takes_no_buffers_from_the_others(login: Login, full: CrowdedImage) -> None:
    initiator = held(login, full, count=16, length=262144 // 4, max_burst=1 << 20)
    assert initiator.reactor.buffer_bytes == 0
    tick(initiator, SPACE_REMINDER_MS)
    assert initiator.reactor.buffer_bytes <= 65536 + 15 * 4096


def test_held_writes_move_to_another_process(login: Login, full: CrowdedImage) -> None:
    initiator = held(login, full, count=4)
    asked = tick(initiator, SPACE_REMINDER_MS)
    assert sorted(asks.desired_length for asks in asked) == [512, 512, 512, 4096]
    answered = next(asks for asks in asked if asks.desired_length == 512)
    assert not answer(initiator, answered)  # this one waits for space now, the others for their data
    asked.remove(answered)
    reactor = move(initiator)
    reactor.set_full_disk_hold(HOLD_SECONDS)
    full.room = DISK_BYTES
    done = []
    asked += initiator.send()
    while len(done) < 4:
        for asks in asked or tick(initiator, SPACE_RETRY_MS):
            done += [
                pdu.itt for pdu in answer(initiator, asks) if pdu.opcode == Opcode.SCSI_RESPONSE and not pdu.status
            ]
        asked = []
    assert sorted(done) == [1, 2, 3, 4]
    for n in range(4):
        assert data_of(initiator.status(initiator.read(n * 256, 8))) == NEW[n * 4096 : (n + 1) * 4096]
