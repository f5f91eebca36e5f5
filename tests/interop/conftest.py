"""One disk with a known content, served for programs that nobody here wrote."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.pattern import write_pattern
from tests.support.targets import Export, chosen_export

DISK_BYTES = 64 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A raw disk in which each 8-byte word holds its offset."""
    return write_pattern(tmp_path / "disk.raw", DISK_BYTES)


@pytest.fixture
def export(disk: Path, tmp_path: Path) -> Iterator[Export]:
    """The disk behind the target that GOLDHERD_TEST_TARGET names."""
    with chosen_export()([disk], tmp_path) as served:
        yield served


def run_tool(*command: str | Path) -> str:
    """Runs somebody else's program and gives what it printed; its complaint is the failure's text."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}"
    return done.stdout
