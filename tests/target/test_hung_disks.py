"""A disk that hangs holds up its own node and nobody else: no reactor, no login and no other disk waits for it."""

import errno
import select
import shutil
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from goldherd.limits import CONTROL_THREADS, LANE_JOBS_MAX, STORAGE_THREADS

from bench.pattern import words
from tests.support.faulty_calls import FaultyCalls
from tests.target.daemon import QUICK, Daemon, Herd
from tests.target.initiator import ConnectionEndedError, Session, loader_isid

PATTERN = b"\xa5" * 4096
LONG_SECONDS = 3600
"""A call hangs until its daemon is killed."""
SICK = STORAGE_THREADS + 2
"""Nodes whose disks hang: they would take every storage thread that stays, several times over."""
MANY_SICK = CONTROL_THREADS + 2
"""Nodes that would take every thread of the control plane that stays."""


@pytest.fixture
def many(template: Path) -> Iterator[Herd]:
    """More nodes on a disk, which a folder of the system is not everywhere: a file in memory can't hang."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        shutil.copytree(template, Path(folder) / "data")
        herd = Herd(Path(folder) / "data")
        herd.do("node", "add", f"sick-[1-{MANY_SICK}]", "--image", "lab")
        yield herd


def works(daemon: Daemon, node: str) -> None:
    """A login, a cold read, writes, a flush and a ping of a node: all of it is answered."""
    with daemon.log_in(node) as session:
        assert session.read(8, 8) == words(4096, 4096)
        for lba in range(16, 64, 8):
            assert session.write(lba, PATTERN).status == 0
        assert session.flush().status == 0
        assert session.read(16, 8) == PATTERN
        session.ping()


def hang_writes(session: Session, count: int) -> None:
    """Sends writes that nothing will answer."""
    for number in range(count):
        session.start(struct.pack(">BBIBH", 0x2A, 0, 8 * number, 0, 8), write=PATTERN, immediate=len(PATTERN))


def has_block(disk: Path) -> bool:
    """Whether a differencing VHD says in its file that block 0 is allocated: a flush writes that (VHD 2.3, 2.4)."""
    data = disk.read_bytes()
    table = int.from_bytes(data[512 + 16 : 512 + 24])
    return data[table : table + 4] != b"\xff" * 4


def until(what: Callable[[], bool]) -> None:
    """Waits for something that the daemon does by itself."""
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_silent(session: Session) -> bool:
    """Whether nothing has come that was not taken."""
    return not select.select([session.socket], [], [], 0)[0]


@pytest.mark.parametrize("call", ["pwrite", "ftruncate"])
def test_writes_that_hang_hold_up_no_other_node(many: Herd, faults: FaultyCalls, call: str) -> None:
    with many.serve("--reactors", "1") as daemon:
        sick = [daemon.log_in(f"sick-{number}") for number in range(1, SICK + 1)]
        faults.arm(call, errno.EIO, "overlays/sick-", times=1 << 20, sleep_seconds=LONG_SECONDS)
        for session in sick:
            hang_writes(session, LANE_JOBS_MAX + 2)
        for session in sick:
            session.ping()
            session.inquire()
        works(daemon, "pc-001")
        works(daemon, "pc-002")
        assert faults.hits >= SICK
        assert all(map(is_silent, sick))
        daemon.kill()


def test_flushes_that_hang_hold_up_no_other_node(
    many: Herd, faults: FaultyCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLDHERD_FLUSH_SECONDS", "0.1")
    with many.serve("--reactors", "1") as daemon:
        sick = [daemon.log_in(f"sick-{number}") for number in range(1, SICK + 1)]
        for session in sick:
            assert session.write(0, PATTERN).status == 0
        faults.arm("fdatasync", errno.EIO, "overlays/sick-", times=1 << 20, sleep_seconds=LONG_SECONDS)
        for session in sick:
            session.start(b"\x35")
        works(daemon, "pc-001")
        assert faults.hits >= SICK
        assert all(map(is_silent, sick))
        with daemon.log_in("pc-002") as well:  # timed flushes of the others go on
            assert well.write(0, PATTERN).status == 0
            until(lambda: has_block(many.overlay("pc-002")))
        for session in sick:  # the sick node itself still reads what is in memory
            assert session.read(8, 8) == words(4096, 4096)
        daemon.kill()


def test_disk_that_hangs_does_not_hold_up_the_end(
    many: Herd, faults: FaultyCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(QUICK, "GOLDHERD_SHUTDOWN_FLUSH_SECONDS", "4")
    with many.serve("--reactors", "1") as daemon:
        sick = [daemon.log_in(f"sick-{number}") for number in range(1, SICK + 1)]
        well = [daemon.log_in(node) for node in ("pc-001", "pc-002")]
        for session in (*sick, *well):
            assert session.write(16, PATTERN).status == 0
        faults.arm("fdatasync", errno.EIO, "overlays/sick-", times=1 << 20, sleep_seconds=LONG_SECONDS)
        sick[0].start(b"\x35")  # one of them has a command under way, the others meet it when they are closed
        assert daemon.stop() == 3, "the daemon ended by itself, and says that something was left"
        left = [line for line in daemon.log.splitlines() if "a disk was not flushed" in line]
        assert len(left) == SICK
        assert all(any(f"node=sick-{number} " in line for line in left) for number in range(1, SICK + 1))
    with many.serve() as daemon:
        for node in ("pc-001", "pc-002"):
            with daemon.log_in(node) as session:
                assert session.read(16, 8) == PATTERN


def test_login_whose_disk_hangs_does_not_hold_up_the_end(
    many: Herd, faults: FaultyCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(QUICK, "GOLDHERD_SHUTDOWN_FLUSH_SECONDS", "4")
    many.do("node", "set", "sick-1", "--policy", "reset")
    ended = []

    def boot() -> None:
        with pytest.raises(ConnectionEndedError) as caught:
            daemon.log_in("sick-1", isid=loader_isid(1))
        ended.append(caught.value)

    with many.serve("--reactors", "1") as daemon:
        faults.arm("pwrite", errno.EIO, "overlays/", times=1 << 20, sleep_seconds=LONG_SECONDS)
        login = threading.Thread(target=boot)
        login.start()
        until(lambda: faults.hits > 0)
        assert daemon.stop() == 0, "it ended by itself, and nothing had been written"
        login.join()
    assert ended


def test_timed_flushes_that_hang_keep_no_node_from_its_disk(
    many: Herd, faults: FaultyCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a disk and rare commands have threads, however many of the control plane's wait for disks that hang."""
    monkeypatch.setenv("GOLDHERD_FLUSH_SECONDS", "0.1")
    with many.serve("--reactors", "1") as daemon:
        sick = [daemon.log_in(f"sick-{number}") for number in range(1, MANY_SICK + 1)]
        faults.arm("fdatasync", errno.EIO, "overlays/sick-", times=1 << 20, sleep_seconds=LONG_SECONDS)
        for session in sick:
            assert session.write(0, PATTERN).status == 0
        until(lambda: faults.hits == MANY_SICK)
        works(daemon, "pc-001")
        with daemon.log_in("pc-002") as well:
            assert well.command(struct.pack(">BBIBH", 0x2F, 0, 0, 0, 64)).status == 0, "VERIFY"
        daemon.kill()
