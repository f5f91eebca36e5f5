"""Two versions in turn: both do the same rounds, and the verdict is what all pairs agree on."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.versions import HEADING, Verdict

ROOT = Path(__file__).parent.parent.parent
CASES = ("bench/bench_framer.py", "-k", "65536")


def versions(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """`python -m bench.versions` in a short form."""
    command = [sys.executable, "-m", "bench.versions", "--rounds", "3", "--pairs", "1", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """An interpreter that runs fewer cases than this one."""
    path = tmp_path / "python"
    path.write_text(
        f'#!/bin/sh\nexec {sys.executable} "$@" --deselect "bench/bench_framer.py::test_pings[65536-plain]"\n'
    )
    path.chmod(0o755)
    return path


def test_every_case_is_a_line_of_the_table() -> None:
    done = versions("--before", sys.executable, "--", *CASES)
    assert (done.returncode, done.stderr) == (0, "")
    heading, *lines = done.stdout.splitlines()
    assert heading == HEADING
    assert [line.split()[0] for line in lines] == [
        f"bench_framer.py::test_pings[65536-{digest}]" for digest in ("plain", "digest")
    ]


def test_version_that_does_not_run_is_told_with_its_own_words() -> None:
    done = versions("--before", sys.executable, "--", "bench/bench_framer.py", "--no-such-option")
    assert done.returncode == 2
    assert "failed with" in done.stderr and "--no-such-option" in done.stderr


def test_interpreter_that_ends_at_once_is_told() -> None:
    false = shutil.which("false")
    assert false is not None
    done = versions("--before", false, "--", *CASES)
    assert done.returncode == 2
    assert f"failed with {false}" in done.stderr


def test_versions_with_different_cases_are_not_compared(other: Path) -> None:
    done = versions("--before", other, "--", *CASES)
    assert done.returncode == 2
    assert "do not run the same cases" in done.stderr


def test_case_is_dearer_when_all_pairs_say_so() -> None:
    verdict = Verdict("case", [1.07, 1.2, 1.04])
    assert verdict.ratio == 1.07
    assert verdict.slower(0.03)
    assert not verdict.slower(0.05)  # one pair of processes says 4 %


def test_line_has_a_cell_below_every_heading() -> None:
    line = str(Verdict("bench/bench_plan.py::test_plan_of_4k[raw]", [1.0], [10.0], [10.0]))
    assert len(line) == len(HEADING)
    assert line.startswith("bench_plan.py::test_plan_of_4k[raw] ")
