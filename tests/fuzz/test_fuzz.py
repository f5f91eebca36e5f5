"""A few seconds of fuzzing, always the same beginning; longer by `python -m tests.fuzz --minutes N`."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fuzz.framing.seeds import SEEDS
from tests.fuzz.targets import CORPUS, TARGETS, corpus

SECONDS = 4
SECONDS_COMPILED = 15
ROOT = Path(__file__).parents[2]


def fuzz(command: Sequence[str], timeout: float) -> str:
    """What the command prints; it must find nothing."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=timeout)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed[-8000:]
    return printed


@pytest.mark.parametrize("name", TARGETS)
def test_corpus(name: str) -> None:
    inputs = corpus(name)
    assert inputs
    for data in inputs:
        TARGETS[name].run(data)


def test_seeds_in_the_corpus_are_those_that_the_script_makes() -> None:
    assert {name: (CORPUS / "framing" / name).read_bytes() for name in SEEDS} == SEEDS


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if not target.compiled])
def test_fuzz_for_some_seconds(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(SECONDS), "--keep", str(tmp_path)]
    fuzz(command, 120)


@pytest.mark.timeout(900)
def test_fuzz_compiled_code_under_sanitizers(tmp_path: Path) -> None:
    """Most of the time goes into building it."""
    command = [str(ROOT / "scripts/sanitize"), "fuzz", "framing", "--seconds", str(SECONDS_COMPILED)]
    printed = fuzz([*command, "--keep", str(tmp_path)], 900)
    modules = re.search(r"Loaded (\d+) modules", printed)
    assert modules and int(modules[1]) > 20, "coverage of the compiled modules did not guide it"
