"""Rules of the house that no linter knows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINES_MAX = 600
TREES = ("core", "plugins", "tests", "bench", "examples", "scripts", "docs")
SOURCE_KINDS = {".py", ".pyx", ".pxd", ".pyi", ".h"}
TEXT_KINDS = SOURCE_KINDS | {".md", ".toml", ".cfg", ".sh", ""}

OUT_OF_PLACE = re.compile(r"\b(TODO|FIXME|XXX|HACK|WIP|lorem ipsum)", re.IGNORECASE)
"""Words for work that is not done. Whoever finds something to do does it or files an issue."""

TIMING = re.compile(
    r"\bassert\b[^\n]*(\b(elapsed|duration|took|lasted)\b|\b(perf_counter|monotonic|time)\(\) - )[^\n]*[<>]"
)
"""A test that fails on a busy machine tells nothing about the program. A bound on waiting is no such test."""

NO_COMPONENT = re.compile(r"\b([Ww]hoever|[Nn]obody|[Ss]omebody|[Aa]nybody)\b")
"""Subjects that are no component: a sentence says which part of the program does something."""
SAYING_WHO = ("scsi", "catalog", "volumes", "services", "files")
"""The rooms whose sentences do."""

SWALLOWED = re.compile(r"except[^\n]*:\s*(?:\n\s*)?(?:pass|\.\.\.)\s*$", re.MULTILINE)


def files(*trees: str, kinds: set[str]) -> list[Path]:
    """The files of these trees that people wrote."""
    return sorted(
        path
        for tree in trees
        for path in (ROOT / tree).rglob("*")
        if path.is_file() and path.suffix in kinds and "__pycache__" not in path.parts and path != Path(__file__)
    )


def found(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    """file:line: text, for each match."""
    return [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match.group().strip()}"
        for path in paths
        for text in [path.read_text(errors="replace")]
        for match in pattern.finditer(text)
    ]


def test_no_file_outgrows_a_reader() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in files("core", "plugins", "tests", "bench", kinds=SOURCE_KINDS)
        if (lines := path.read_text().count("\n")) > LINES_MAX
    }
    assert not long


def test_every_compiled_module_has_a_stub() -> None:
    """One that gives Python no name at all needs none: its contract is its .pxd."""
    bare = [
        path.name
        for path in files("core", "plugins", "bench", kinds={".pyx"})
        if not path.with_suffix(".pyi").exists()
        and re.search(r"^(def|class|cdef class|[A-Z_]+ =)", path.read_text(), re.MULTILINE)
    ]
    assert not bare


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in files("core", "plugins", "tests", "bench", kinds={".py", ".pyx", ".pxd", ".pyi"})
        if (text := path.read_text()).strip() and not text.startswith('"""')
    ]
    assert not silent


def test_nothing_is_left_half_done() -> None:
    assert not found(OUT_OF_PLACE, files(*TREES, kinds=TEXT_KINDS))


def test_no_test_asserts_a_time() -> None:
    assert not found(TIMING, files("tests", kinds={".py"}))


def test_no_exception_is_swallowed_in_silence() -> None:
    assert not found(SWALLOWED, files("core", "plugins", "bench", "tests", kinds={".py", ".pyx"}))


def test_no_test_is_skipped() -> None:
    assert not found(re.compile(r"pytest\.skip|mark\.skip|mark\.xfail|importorskip"), files("tests", kinds={".py"}))


@pytest.mark.parametrize("room", SAYING_WHO)
def test_sentences_name_the_component(room: str) -> None:
    assert not found(NO_COMPONENT, files(f"core/goldherd/{room}", kinds=SOURCE_KINDS))


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_document_is_there(name: str) -> None:
    assert (ROOT / name).stat().st_size


def test_every_file_is_laid_out_by_the_formatter() -> None:
    """No line is broken by hand, so no change is about lines."""
    trees = [name for name in TREES if name != "docs"]
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", *trees], cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
