"""Hashing in a process that gives way: the same hashes, at its rate, without the page cache, ended with its parent."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from goldherd.files.hashing import hash_file
from goldherd.volumes.reading_apart import ReadingApart, StoppedError

MIB = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")


def quiet(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "golden"
    with path.open("wb") as opened:
        opened.write(os.urandom(4 * MIB))
        opened.truncate(64 * MIB)
        opened.seek(32 * MIB)
        opened.write(os.urandom(MIB))
        opened.flush()
        os.fsync(opened.fileno())
    return path


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def readers() -> list[int]:
    """The processes that this one has started to read."""
    found = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False
    )
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "reading_apart" in line]


@pytest.mark.parametrize("plain", [False, True])
def test_hashes_are_the_same(file: Path, plain: bool) -> None:
    assert ReadingApart(0)(file, quiet, plain) == hash_file(file, quiet, plain=plain)[0]


def test_progress_is_told(file: Path) -> None:
    told: list[tuple[str, int, int]] = []
    ReadingApart(0)(file, lambda *step: told.append(step), False)
    assert told and all(stage == "hash" and done <= total == 64 * MIB for stage, done, total in told)


def test_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ReadingApart(0)(tmp_path / "none", quiet, False)


def test_process_is_idle_and_ends_when_it_is_stopped(file: Path) -> None:
    reading = ReadingApart(1024)  # an hour for this file
    ended: list[BaseException] = []

    def read() -> None:
        try:
            reading(file, quiet, False)
        except StoppedError as error:
            ended.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    until(lambda: any(os.sched_getscheduler(pid) == os.SCHED_IDLE for pid in readers()))
    reading.stop()
    thread.join(60)
    assert not thread.is_alive() and len(ended) == 1 and readers() == []
    with pytest.raises(StoppedError):
        reading(file, quiet, False)


def test_process_ends_with_a_parent_that_is_killed(file: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from goldherd.volumes.reading_apart import ReadingApart\n"
        f"ReadingApart(1024)(Path({str(file)!r}), lambda *step: print('on', flush=True), False)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"on\n"
    found = subprocess.run(["pgrep", "-P", str(parent.pid)], capture_output=True, text=True, check=True)
    child = int(found.stdout)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    until(lambda: not running(child))


def running(pid: int) -> bool:
    """Whether a process does anything still; one that no parent has waited for does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_rate_counts_data_and_no_holes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from goldherd.volumes import reading_apart

    slept: list[float] = []
    clock = [100.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(reading_apart.time, "sleep", sleep)
    monkeypatch.setattr(reading_apart.time, "monotonic", lambda: clock[0])
    hash_file(file, reading_apart._Pace(MIB))
    # 5 MiB of data, the step over the hole and the end count as one chunk each; a burst of a second is allowed
    assert 4 <= sum(slept) <= 7


def test_nothing_stays_in_the_page_cache(file: Path) -> None:
    file.read_bytes()
    before = cached_pages(file)
    ReadingApart(0)(file, quiet, False)
    assert cached_pages(file) <= before // 8


def cached_pages(file: Path) -> int:
    """Pages of a file that the page cache holds (fincore(1))."""
    words = ["fincore", "-n", "-b", "-o", "PAGES", str(file)]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
