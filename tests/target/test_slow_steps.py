"""A step of a reactor that takes long is counted with what it was doing, and told in `status` and in the log."""

import asyncio
import errno
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog
from goldherd.limits import SLOW_STEP_LOG_SECONDS, SLOW_STEP_MILLISECONDS
from goldherd.session.codes import StepWork
from goldherd.target.slow_steps import WORDS, SlowSteps

from tests.support.faulty_calls import FaultyCalls
from tests.target.daemon import Herd

PATTERN = b"\xa5" * 4096
SLEEP_SECONDS = 0.3
CLOCK_MILLISECONDS = 20
"""The clock of the steps is behind by a tick of the kernel at each end: 10 ms where it ticks rarely."""


@pytest.fixture
def in_memory(template: Path) -> Iterator[Herd]:
    """A herd whose files lie in memory: there a reactor stores small writes itself."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        shutil.copytree(template, Path(folder) / "data")
        yield Herd(Path(folder) / "data")


def until(what: Callable[[], bool]) -> None:
    """Waits for something that the daemon does by itself."""
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_write_that_takes_long_is_counted_and_told(
    in_memory: Herd, faults: FaultyCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLDHERD_FLUSH_SECONDS", "0.1")

    def writes() -> list[dict[str, int]]:
        return [step for step in in_memory.status()["daemon"]["slow_steps"] if step["doing"] == "write"]

    with in_memory.serve("--reactors", "1") as daemon, daemon.log_in("pc-001") as session:
        assert session.write(0, PATTERN).status == 0
        before = sum(step["count"] for step in writes())
        # A call that was interrupted is made again, so that the write itself succeeds.
        faults.arm("pwrite", errno.EINTR, "overlays/pc-001", sleep_seconds=SLEEP_SECONDS)
        assert session.write(0, PATTERN).status == 0
        assert faults.hits == 1
        until(lambda: sum(step["count"] for step in writes()) > before)
        (step,) = writes()
        assert step["reactor"] == 0
        assert step["longest_ms"] >= SLEEP_SECONDS * 1000 - CLOCK_MILLISECONDS > SLOW_STEP_MILLISECONDS
        assert "mostly for writing to a disk's file: all of its sessions waited." in in_memory.do("status")
        until(lambda: "doing=write" in daemon.log)
        (line,) = [line for line in daemon.log.splitlines() if "doing=write" in line]
        assert "steps of a reactor took long" in line and "reactor=0" in line


@dataclass
class Counted:
    """A reactor's counts."""

    number: int = 0
    steps: dict[StepWork, tuple[int, int]] = field(default_factory=dict)

    def slow_steps(self) -> dict[StepWork, tuple[int, int]]:
        """As a reactor's."""
        return self.steps


def test_slow_steps_are_told_once_a_minute() -> None:
    reactors, now = [Counted(0), Counted(1)], [1000.0]
    slow = SlowSteps(reactors, clock=lambda: now[0])

    def told() -> list[tuple[int, str, int]]:
        with structlog.testing.capture_logs() as lines:
            asyncio.run(slow.tell())
        return [(line["reactor"], line["doing"], line["steps"]) for line in lines]

    assert told() == []
    reactors[1].steps[StepWork.STEP_WRITE] = (2, 400)
    reactors[0].steps[StepWork.STEP_SEND] = (1, 60)
    assert told() == [(0, "send", 1), (1, "write", 2)]
    reactors[1].steps[StepWork.STEP_WRITE] = (5, 400)
    now[0] += SLOW_STEP_LOG_SECONDS - 1
    assert told() == []
    now[0] += 2
    assert told() == [(1, "write", 3)]
    now[0] += 2 * SLOW_STEP_LOG_SECONDS
    assert told() == []
    assert len(slow.all()) == 2


def test_every_work_of_a_step_has_its_word() -> None:
    assert set(WORDS) == set(StepWork)
