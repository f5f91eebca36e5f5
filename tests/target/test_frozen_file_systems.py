"""Real file systems under the data: what a reactor writes by itself, and a file system that is frozen (fsfreeze(8)).

A frozen file system is a hung disk of a real kernel: writes and flushes wait there until it is thawed.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.pattern import words
from tests.support.file_systems import frozen, mounted
from tests.target.daemon import Daemon, Herd, running
from tests.target.initiator import Session, log_in
from tests.target.test_hung_disks import is_silent, until

MIB = 1 << 20
BLOCK = 4096
TARGET = "iqn.2020-01.test:disk"
WRITES = 256


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path, "xfs") as place:
        yield place


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path, "ext4") as place:
        yield place


def jobs(herd: Herd) -> int:
    """What the reactors have given to other threads so far."""
    found: int = herd.status()["daemon"]["counters"]["jobs"]
    return found


def herd_on(place: Path, raw: Path) -> Herd:
    """A data folder on a file system: lab@1, and the nodes pc-1 and pc-2."""
    herd = Herd(place / "data")
    herd.do("image", "import", raw, "--name", "lab")
    herd.do("node", "add", "pc-[1-2]", "--image", "lab")
    return herd


@contextmanager
def served(herd: Herd, tmp_path: Path) -> Iterator[Daemon]:
    """The daemon with its log outside of the file system that a test freezes."""
    with running(tmp_path / "serve.log", "--data", herd.data, "serve", "--reactors", "1") as daemon:
        yield daemon


def write_all(session: Session, fill: int) -> None:
    """Writes a MiB in blocks, many at a time."""
    data = bytes([fill]) * BLOCK
    for number in range(WRITES):
        if number >= 64:
            end_writes(session, 1)
        start_write(session, 8 * number, data)
    end_writes(session, 64)


def start_write(session: Session, lba: int, data: bytes) -> None:
    """Sends a write with its data."""
    session.start(struct.pack(">BBIBH", 0x2A, 0, lba, 0, len(data) // 512), write=data, immediate=len(data))


def end_writes(session: Session, count: int) -> None:
    """The next answers, in whatever order: all of them good."""
    for _ in range(count):
        answer = session.take()
        assert (answer.opcode, answer.header[3]) == (0x21, 0)


def test_xfs_takes_writes_to_allocated_blocks_on_the_reactor(xfs: Path, raw: Path, tmp_path: Path) -> None:
    """RWF_NOWAIT: a write that would wait, for a block or to note a new time in the inode, goes to a worker."""
    herd = herd_on(xfs, raw)
    with served(herd, tmp_path) as daemon, daemon.log_in("pc-1") as session:
        write_all(session, 1)
        assert session.flush().status == 0
        by_itself = 0

        def writes_by_itself() -> bool:
            nonlocal by_itself
            before = jobs(herd)
            write_all(session, 2)
            by_itself += WRITES - (jobs(herd) - before)
            return by_itself >= WRITES

        until(writes_by_itself)
        assert session.read(0, 2048) == bytes([2]) * MIB
        assert session.flush().status == 0


def test_ext4_takes_every_write_on_a_worker(ext4: Path, raw: Path, tmp_path: Path) -> None:
    """ext4 waits for its journal in any write, and has no RWF_NOWAIT for them."""
    herd = herd_on(ext4, raw)
    with served(herd, tmp_path) as daemon, daemon.log_in("pc-1") as session:
        write_all(session, 1)
        before = jobs(herd)
        write_all(session, 2)
        assert jobs(herd) - before >= WRITES


def test_block_that_xfs_must_allocate_is_written_by_a_worker(xfs: Path, tmp_path: Path) -> None:
    """The file is one hole."""
    disk = xfs / "disk.img"
    with disk.open("wb") as file:
        file.truncate(64 * MIB)
    with (
        running(tmp_path / "log", "export", f"raw:{disk}", "--target", TARGET, "--reactors", "1") as daemon,
        log_in(daemon.portal, TARGET, "iqn.2020-01.test:me").make_ready() as session,
    ):
        for number in range(0, 64, 4):
            assert session.write(number * 2048, bytes([number + 1]) * BLOCK).status == 0
        assert session.flush().status == 0
        for number in range(0, 64, 4):
            assert session.read(number * 2048, 8) == bytes([number + 1]) * BLOCK


def test_frozen_ext4_keeps_nothing_but_its_writes_waiting(ext4: Path, herd: Herd, tmp_path: Path) -> None:
    """The same reactor serves a disk on it, and one elsewhere."""
    sick, well = ext4 / "sick.img", tmp_path / "well.img"
    for disk in (sick, well):
        disk.write_bytes(words(0, 4 * MIB))
    export = ("export", f"raw:{sick}", f"raw:{well}", "--target", TARGET, "--reactors", "1")
    data = b"\xa5" * BLOCK
    with (
        running(tmp_path / "log", *export) as daemon,
        log_in(daemon.portal, TARGET, "iqn.2020-01.test:me").make_ready() as session,
        log_in(daemon.portal, TARGET, "iqn.2020-01.test:other").make_ready() as other,
    ):
        assert session.write(0, data).status == session.flush().status == 0
        while other.command(bytes(6), lun=1).key[0] == 6:  # its unit attentions
            pass
        with frozen(ext4):
            for number in range(8):
                start_write(session, 8 * number, data)
            for _ in range(20):
                other.ping()
                assert other.read(8, 8) == words(BLOCK, BLOCK), "a disk on it can be read"
                assert other.write(64, data, lun=1).status == 0
            assert is_silent(session)
            with log_in(daemon.portal, TARGET, "iqn.2020-01.test:third").make_ready() as third:
                assert third.read(8, 8) == words(BLOCK, BLOCK)
        end_writes(session, 8)
        assert session.flush().status == 0
        assert session.read(0, 64) == data * 8


def test_node_on_a_frozen_data_folder_goes_on_after_the_thaw(ext4: Path, raw: Path, tmp_path: Path) -> None:
    herd = herd_on(ext4, raw)
    data = b"\x5a" * BLOCK
    with served(herd, tmp_path) as daemon, daemon.log_in("pc-1") as session, daemon.log_in("pc-2") as other:
        assert session.read(8, 8) == other.read(8, 8) == words(BLOCK, BLOCK)
        with frozen(ext4):
            start_write(session, 64, data)
            for _ in range(20):
                other.ping()
                assert other.read(8, 8) == words(BLOCK, BLOCK)
            assert is_silent(session)
        end_writes(session, 1)
        assert session.flush().status == 0 and session.read(64, 8) == data
