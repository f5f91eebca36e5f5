"""A build that can't succeed says which package is missing, in one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import without_this_tree


@pytest.fixture
def translated(sdist: Path, tree: Path) -> Path:
    """A tree in which Cython's work is done already: making the source archive did it."""
    assert sdist.exists()
    assert list((tree / "build" / "cython").rglob("*.c"))
    return tree


def refusal(tree: Path, into: Path, **environment: str) -> str:
    """What a build of the wheel says when it fails."""
    script = "import sys, setuptools.build_meta as b; b.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", script, into],
        cwd=tree,
        env={**without_this_tree(), **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_missing_compiler_is_told(translated: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    said = refusal(translated, tmp_path, PATH=str(tmp_path / "bin"))
    assert said.startswith("goldherd has compiled modules, and the C compiler '")
    assert "is not there: install it (on Debian: apt-get install gcc libc6-dev)" in said


def test_compiler_that_is_named_and_missing_is_told(translated: Path, tmp_path: Path) -> None:
    assert "the C compiler 'no-such-cc' is not there" in refusal(translated, tmp_path, CC="no-such-cc")


def test_missing_headers_are_told(translated: Path, tmp_path: Path) -> None:
    said = refusal(translated, tmp_path, CFLAGS="-nostdinc")
    assert "does not find stdio.h: install it (on Debian: apt-get install libc6-dev)" in said
