"""A node's volume has no space left: its writes wait, nobody else notices, and all go on when there is some."""

import errno
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from goldherd import limits

from bench.pattern import words
from tests.support.faulty_calls import FaultyCalls
from tests.target.daemon import Daemon, Herd
from tests.target.initiator import Session
from tests.target.small_volumes import MAKE, Volume, small_volume

GOOD = (0, 0, 0)
SPACE_ALLOCATION_FAILED = (0x7, 0x27, 0x07)
CHUNK = 128 << 10
WRITES = 24
APART = 1024
"""Blocks between two writes of a load: a quarter of a VHD's block."""
DATA = bytes(range(256)) * (CHUNK // 256)


@pytest.fixture(autouse=True)
def no_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """No unit attention tells of a threshold in between: tests/target/test_volumes.py is about these."""
    monkeypatch.setenv("GOLDHERD_SPACE_SOFT", "0")
    monkeypatch.setenv("GOLDHERD_SPACE_HARD", "0")


@pytest.fixture(params=MAKE)
def volume(herd: Herd, request: pytest.FixtureRequest) -> Iterator[Volume]:
    with small_volume(herd, request.param) as volume:
        yield volume


class Load:
    """Writes that a session has under way, whatever order their answers come in."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.under_way: dict[int, tuple[int, bytes]] = {}
        self.keys: list[tuple[int, int, int]] = []
        self.reminders = 0
        self.asked: dict[int, int] = {}
        """LBA to how often its data was asked for."""

    def write(self, lba: int, data: bytes) -> None:
        cdb = struct.pack(">BBIBH", 0x2A, 0, lba, 0, len(data) // 512)
        self.under_way[self.session.start(cdb, write=data)] = lba, data

    def step(self) -> None:
        """Acts on the next PDU that is no ping."""
        pdu = self.session.take()
        lba, data = self.under_way[pdu.itt]
        if pdu.opcode == 0x31:
            self.asked[lba] = self.asked.get(lba, 0) + 1
            self.reminders += int.from_bytes(pdu.header[44:48]) == 512
            self.session._data_out(pdu, data)
        else:
            assert pdu.opcode == 0x21
            del self.under_way[pdu.itt]
            self.keys.append(GOOD if pdu.header[3] == 0 else (pdu.data[4] & 0xF, pdu.data[14], pdu.data[15]))

    def until(self, done: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not done():
            assert time.monotonic() < deadline
            self.step()

    def finish(self) -> None:
        self.until(lambda: not self.under_way)


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def full_disks(herd: Herd) -> list[dict[str, object]]:
    found: list[dict[str, object]] = herd.status()["daemon"]["full_disks"]
    return found


@contextmanager
def both(herd: Herd, *options: object) -> Iterator[tuple[Daemon, Session, Session]]:
    """A daemon, a session of pc-001 and one of pc-002."""
    with (
        herd.serve("--reactors", "1", *options) as daemon,
        daemon.log_in("pc-001") as mine,
        daemon.log_in("pc-002") as other,
    ):
        yield daemon, mine, other


def test_writes_of_a_full_volume_wait_and_go_on_when_it_has_space(herd: Herd, volume: Volume) -> None:
    with both(herd) as (daemon, mine, other):
        assert mine.write(0, DATA[:4096]).key == mine.flush().key == GOOD
        volume.fill()
        load = Load(mine)
        for number in range(WRITES):
            load.write(APART * number + 8, DATA)
        load.until(lambda: (full := full_disks(herd)) and full[0]["held_writes"])
        (full,) = full_disks(herd)
        assert (full["node"], full["lun"]) == ("pc-001", 0) and full["path"] == str(herd.overlay("pc-001"))
        assert "has had no space" in herd.do("status")
        with daemon.log_in("pc-001", isid=b"\x40\0\0\x27\0\1") as same:
            assert same.write(0, DATA[4096:8192]).key == same.flush().key == GOOD
            assert same.read(0, 8) == DATA[4096:8192]
        for number in range(20):
            assert other.write(APART * number, DATA).key == other.flush().key == GOOD
        assert other.read(0, CHUNK // 512) == DATA
        assert load.under_way and set(load.keys) <= {GOOD}
        volume.ballast.unlink()
        load.finish()
        assert load.keys == [GOOD] * WRITES
        assert mine.flush().key == GOOD
        wait_for(lambda: not full_disks(herd))
        assert daemon.log.count("a disk has no space") == 1
        wait_for(lambda: "lacks space no more" in daemon.log)
        assert "Traceback" not in daemon.log
        daemon.kill()
    with herd.serve() as daemon, daemon.log_in("pc-001") as mine:
        for number in range(WRITES):
            assert mine.read(APART * number + 8, CHUNK // 512) == DATA
        assert mine.read(0, 8) == DATA[4096:8192]


def test_initiator_sees_that_its_writes_wait_and_is_told_when_their_time_is_over(herd: Herd, volume: Volume) -> None:
    seconds = limits.SPACE_REMINDER_MS / 1000 + 4
    with both(herd, "--full-disk-hold", seconds) as (daemon, mine, other):
        volume.fill()
        load = Load(mine)
        for number in range(WRITES):
            load.write(APART * number + 8, DATA)
        load.until(lambda: len(load.keys) > WRITES // 2 and load.keys[-1] != GOOD)
        assert load.reminders
        load.finish()
        assert set(load.keys) <= {GOOD, SPACE_ALLOCATION_FAILED}
        assert mine.write(APART * WRITES, DATA).key == SPACE_ALLOCATION_FAILED
        assert mine.read(0, 8) == words(0, 4096)
        assert other.write(0, DATA).key == GOOD
        wait_for(lambda: "they have waited long enough" in daemon.log)
        volume.ballast.unlink()
        assert mine.write(APART * WRITES, DATA).key == mine.flush().key == GOOD


WRITE_SAME = struct.pack(">BBQIBB", 0x93, 0, 28_000, 8, 0, 0)


def test_command_of_the_slow_path_waits_too(herd: Herd, faults: FaultyCalls) -> None:
    with both(herd) as (_, mine, other):
        faults.arm("pwrite", errno.ENOSPC, herd.overlay("pc-001"), times=1 << 20)
        itt = mine.start(WRITE_SAME, write=DATA[:512])
        pdu = mine.take()
        assert pdu.opcode == 0x31
        mine._data_out(pdu, DATA[:512])
        wait_for(lambda: faults.hits >= 2)
        assert len(full_disks(herd)) == 1
        assert other.write(28_000, DATA).key == GOOD
        mine.ping()
        faults.disarm()
        assert mine.finish(itt).key == GOOD
        assert mine.read(28_000, 8) == DATA[:512] * 8
        assert not full_disks(herd)


def test_writes_that_wait_end_with_their_session(herd: Herd, faults: FaultyCalls) -> None:
    with herd.serve() as daemon:
        faults.arm("pwrite", errno.EDQUOT, herd.overlay("pc-001"), times=1 << 20)
        with daemon.log_in("pc-001") as mine:
            load = Load(mine)
            for number in range(4):
                load.write(APART * number, DATA)
            # One of them at a time may be asking for its data: the meter counts each that began to wait.
            load.until(lambda: herd.status()["daemon"]["counters"]["space_waits"] == 4)
            assert len(full_disks(herd)) == 1
            with daemon.log_in("pc-001") as again:  # the same initiator port: the older session ends
                faults.disarm()
                assert again.write(0, DATA).key == GOOD
                assert again.read(0, CHUNK // 512) == DATA
                wait_for(lambda: not any(full["held_writes"] for full in full_disks(herd)))
        assert daemon.stop() == 0
