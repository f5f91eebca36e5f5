"""A few seconds of fuzzing, always the same beginning; longer by `python -m tests.fuzz --minutes N`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, corpus

SECONDS = 4
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", TARGETS)
def test_corpus(name: str) -> None:
    inputs = corpus(name)
    assert inputs
    for data in inputs:
        TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_fuzz_for_some_seconds(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(SECONDS), "--keep", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
