"""Errors that may have cost written data stick to a disk, whatever its format, until its mark is taken away.

The errors are given by the system calls of a real process (tests/support/faulty_calls.py).
"""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from goldherd.files.failed import find_mark, remove_mark

from tests.plugins.conftest import Disk, Opener, open_disk
from tests.support.faulty_calls import FaultyCalls, build
from tests.support.rooms import ROOT

SIZE = 8 << 20
BLOCK = 2 << 20
KINDS = ("raw", "sparse", "fixed", "dynamic", "differencing")
LOST = (
    "EIO",
    "ENOSPC",
    "EDQUOT",
    "ENODATA",
    "EREMOTEIO",
    "ETIMEDOUT",
    "ENOLINK",
    "ESTALE",
    "EROFS",
    "EUCLEAN",
    "EBADMSG",
    "EFBIG",
    "ENXIO",
    "ENODEV",
    "ENOMEM",
    "EAGAIN",
    "EBUSY",
    "ENOTSUP",
    "EILSEQ",
    "ENOTCONN",
)
"""What the file systems and block devices of Linux give: a medium error (ENODATA), a path that was lost (ENOLINK,
ETIMEDOUT), a full thin pool (ENOSPC), a removed export (ESTALE), a damaged file system (EUCLEAN, EBADMSG, EROFS)..."""
FULL = ("ENOSPC", "EDQUOT")


class Worker:
    """A process that opens disks while its system calls fail."""

    def __init__(self, faults: FaultyCalls) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.plugins.sticky_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **faults.environment},
        )

    def ask(self, what: str, name: str, *rest: object) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([what, name, *rest]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def do(self, what: str, name: str, *rest: object) -> Any:
        """ask() for what must succeed."""
        answer = self.ask(what, name, *rest)
        assert not isinstance(answer, str), answer
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("faulty"))


@pytest.fixture(scope="module")
def faults(library: Path, tmp_path_factory: pytest.TempPathFactory) -> FaultyCalls:
    return FaultyCalls(library, tmp_path_factory.mktemp("control"))


@pytest.fixture(scope="module")
def worker(faults: FaultyCalls) -> Iterator[Worker]:
    worker = Worker(faults)
    yield worker
    worker.end()


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest, tmp_path: Path, worker: Worker, faults: FaultyCalls) -> Iterator[Disk]:
    """A disk whose first block holds flushed ones, open in the worker as "sick"; and another one as "well"."""
    faults.disarm()
    disk = Disk(tmp_path, request.param, SIZE)
    (tmp_path / "well").mkdir()
    well = Disk(tmp_path / "well", request.param, SIZE)
    worker.do("open", "sick", disk.url, "rw")
    worker.do("open", "well", well.url, "rw")
    worker.do("write", "sick", 0, 4096, 1)
    worker.do("flush", "sick")
    yield disk
    faults.disarm()
    for name in ("sick", "well"):
        worker.ask("close", name)
    # What failed left the other disk alone, in memory and in its file.
    assert find_mark(well.path) is None
    assert well.path.stat().st_size > 0


def read_copy(disk: Disk, offset: int, length: int) -> bytes:
    """What the disk's file holds now for another program, as after a restart: read without its lock from a copy."""
    copy = disk.path.with_name("copy.vhd")
    copy.write_bytes(disk.path.read_bytes())
    opener = Opener()
    image = open_disk(f"{disk.url.partition(':')[0]}:{copy}", "r", opener)
    data = image.read(offset, length)
    image.close()
    opener.close()
    copy.unlink()
    return data


def check_failed(worker: Worker, number: int) -> None:
    """The disk takes nothing any more and is read as before; the other disk works."""
    sentence = worker.ask("flush", "sick")
    assert sentence.startswith("ImageError: ") and errno.errorcode[number] in sentence
    assert "Read-only" in worker.ask("write", "sick", 0, 512, 9)
    assert "Read-only" in worker.ask("discard", "sick", 0, 512)
    assert worker.do("read", "sick", 0, 4096) == 1
    worker.do("write", "well", 0, 4096, 3)
    worker.do("flush", "well")
    assert worker.do("read", "well", 0, 4096) == 3


@pytest.mark.parametrize("name", LOST)
def test_an_error_of_a_flush_sticks(disk: Disk, worker: Worker, faults: FaultyCalls, name: str) -> None:
    number = getattr(errno, name)
    worker.do("write", "sick", 2 * BLOCK, 4096, 2)
    before = None if disk.kind in ("raw", "sparse", "fixed") else read_copy(disk, 0, SIZE)
    faults.arm("fdatasync", number, disk.path)
    assert name in worker.ask("flush", "sick")
    assert faults.hits == 1
    check_failed(worker, number)
    assert worker.do("read", "sick", 2 * BLOCK, 4096) == 2, "what the kernel still has is read"
    if before is not None:
        assert read_copy(disk, 0, SIZE) == before, "no table speaks of data that may not be there"
    assert worker.do("failure", "sick") == [number, True]
    assert "has failed" in worker.ask("close", "sick")
    found = find_mark(disk.path)
    assert found is not None and found.number == number
    # A process that opens the file later knows.
    worker.do("open", "sick", disk.url, "rw")
    check_failed(worker, number)
    worker.do("close", "sick")
    remove_mark(disk.path)
    worker.do("open", "sick", disk.url, "rw")
    worker.do("write", "sick", 0, 4096, 4)
    worker.do("flush", "sick")
    assert worker.do("read", "sick", 0, 4096) == 4


@pytest.mark.parametrize("name", ["EIO", "ENOSPC", "EUCLEAN"])
@pytest.mark.parametrize("disk", ["dynamic", "differencing"], indirect=True)
def test_an_error_of_the_second_sync_of_a_flush_sticks(
    disk: Disk, worker: Worker, faults: FaultyCalls, name: str
) -> None:
    """The first one made the data durable; the tables may be there or not."""
    number = getattr(errno, name)
    worker.do("write", "sick", 2 * BLOCK, 4096, 2)
    faults.arm("fdatasync", number, disk.path, good=1)
    assert name in worker.ask("flush", "sick")
    check_failed(worker, number)
    assert read_copy(disk, 0, 4096) == b"\1" * 4096


@pytest.mark.parametrize("name", ["EIO", "ENOSPC", "EDQUOT", "EROFS"])
def test_an_error_of_a_write_is_told_and_does_not_stick(
    disk: Disk, worker: Worker, faults: FaultyCalls, name: str
) -> None:
    """The initiator knows that this write was not taken, and nothing that was taken is lost."""
    number = getattr(errno, name)
    faults.arm("pwrite", number, disk.path)
    assert isinstance(worker.ask("write", "sick", 2 * BLOCK, 4096, 2), str)
    assert faults.hits == 1
    worker.do("flush", "sick")
    worker.do("write", "sick", 2 * BLOCK, 4096, 2)
    worker.do("flush", "sick")
    assert worker.do("failure", "sick") is None
    assert find_mark(disk.path) is None


@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("disk", ["dynamic", "differencing"], indirect=True)
def test_no_room_for_a_table_during_a_flush_does_not_stick(
    disk: Disk, worker: Worker, faults: FaultyCalls, name: str
) -> None:
    number = getattr(errno, name)
    worker.do("write", "sick", 2 * BLOCK, 4096, 2)
    faults.arm("pwrite", number, disk.path)
    assert worker.ask("flush", "sick").startswith("StorageFullError")
    worker.do("flush", "sick")
    assert worker.do("failure", "sick") is None
    assert read_copy(disk, 2 * BLOCK, 4096) == b"\2" * 4096


@pytest.mark.parametrize("name", ["EIO", "EROFS", "ESTALE"])
@pytest.mark.parametrize("disk", ["dynamic", "differencing"], indirect=True)
def test_another_error_of_a_table_during_a_flush_sticks(
    disk: Disk, worker: Worker, faults: FaultyCalls, name: str
) -> None:
    number = getattr(errno, name)
    worker.do("write", "sick", 2 * BLOCK, 4096, 2)
    faults.arm("pwrite", number, disk.path)
    assert name in worker.ask("flush", "sick")
    check_failed(worker, number)


def test_an_interrupted_sync_is_no_error(disk: Disk, worker: Worker, faults: FaultyCalls) -> None:
    worker.do("write", "sick", 2 * BLOCK, 4096, 2)
    faults.arm("fdatasync", errno.EINTR, disk.path, times=3)
    worker.do("flush", "sick")
    assert faults.hits == 3
    assert worker.do("failure", "sick") is None


@pytest.mark.parametrize("name", ["EIO", "EDQUOT", "ENOSPC"])
def test_an_error_of_the_flush_at_close_sticks(disk: Disk, worker: Worker, faults: FaultyCalls, name: str) -> None:
    number = getattr(errno, name)
    worker.do("write", "sick", 2 * BLOCK, 4096, 2)
    faults.arm("fdatasync", number, disk.path)
    assert name in worker.ask("close", "sick")
    worker.do("open", "sick", disk.url, "rw")
    check_failed(worker, number)


@pytest.mark.parametrize("name", ["EIO", "EDQUOT", "ENOSPC"])
def test_an_error_of_close_itself_sticks(disk: Disk, worker: Worker, faults: FaultyCalls, name: str) -> None:
    number = getattr(errno, name)
    worker.do("write", "sick", 2 * BLOCK, 4096, 2)
    faults.arm("close", number, disk.path)
    assert name in worker.ask("close", "sick")
    assert faults.hits == 1
    worker.do("open", "sick", disk.url, "rw")
    check_failed(worker, number)


def test_an_interrupted_close_is_no_error(disk: Disk, worker: Worker, faults: FaultyCalls) -> None:
    faults.arm("close", errno.EINTR, disk.path)
    worker.do("close", "sick")
    assert faults.hits == 1
    assert find_mark(disk.path) is None
    worker.do("open", "sick", disk.url, "rw")


@pytest.mark.parametrize("name", ["EIO", "ENOSPC"])
def test_an_error_that_waits_in_the_kernel_is_found_at_open(
    disk: Disk, worker: Worker, faults: FaultyCalls, name: str
) -> None:
    """Written by a daemon that was killed; the kernel could not bring the data to the disk."""
    number = getattr(errno, name)
    worker.do("close", "sick")
    faults.arm("sync_file_range", number, disk.path)
    worker.do("open", "sick", disk.url, "rw")
    assert faults.hits == 1
    check_failed(worker, number)
    assert find_mark(disk.path) is not None


@pytest.mark.parametrize("disk", ["dynamic"], indirect=True)
def test_an_error_that_the_repair_of_a_footer_meets_sticks(disk: Disk, worker: Worker, faults: FaultyCalls) -> None:
    """Its fsync writes what a killed daemon has left, and is the only one that is told."""
    worker.do("close", "sick")
    with disk.path.open("r+b") as file:
        file.seek(-512, 2)
        file.write(bytes(512))
    faults.arm("fsync", errno.ENOSPC, disk.path)
    assert "No space left" in worker.ask("open", "sick", disk.url, "rw")
    worker.do("open", "sick", disk.url, "rw")
    check_failed(worker, errno.ENOSPC)


def test_of_two_flushes_at_once_none_succeeds_behind_the_error(disk: Disk, worker: Worker, faults: FaultyCalls) -> None:
    """The kernel tells the error to one of them only."""
    worker.do("write", "sick", 2 * BLOCK, 4096, 2)
    faults.arm("fdatasync", errno.EIO, disk.path, sleep_seconds=0.3)
    answers = worker.do("flush twice at once", "sick")
    assert faults.hits == 1
    assert all("EIO" in answer for answer in answers), answers


def test_where_no_mark_can_be_made_the_process_knows(disk: Disk, worker: Worker, faults: FaultyCalls) -> None:
    worker.do("write", "sick", 2 * BLOCK, 4096, 2)
    faults.arm("fdatasync", errno.EIO, disk.path)
    worker.ask("flush", "sick")
    assert worker.do("failure", "sick") == [errno.EIO, True]
    remove_mark(disk.path)
    check_failed(worker, errno.EIO)


def test_a_disk_with_a_mark_is_not_even_repaired(tmp_path: Path, worker: Worker, faults: FaultyCalls) -> None:
    disk = Disk(tmp_path, "dynamic", SIZE)
    with disk.path.open("r+b") as file:
        file.seek(-512, 2)
        file.write(bytes(512))
    content = disk.path.read_bytes()
    faults.arm("sync_file_range", errno.EIO, disk.path)
    worker.do("open", "sick", disk.url, "rw")
    assert "EIO" in worker.ask("flush", "sick")
    worker.do("close", "sick")
    assert disk.path.read_bytes() == content
