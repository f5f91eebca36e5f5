"""A run with several processes: what stays together, and what begins."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.parallel import FIRST, TOGETHER, folder_of, unit_of

TESTS = Path(__file__).parent


@pytest.mark.parametrize("folder", sorted({*FIRST, *TOGETHER}))
def test_folders_that_are_named_hold_tests(folder: str) -> None:
    assert list((TESTS / folder).glob("test_*.py"))


def test_a_folder_whose_tests_share_a_build_is_one_unit() -> None:
    places = ("tests/packaging/test_unit.py::test_a", "tests/packaging/test_installed.py::test_b[x::y]")
    assert {unit_of(place) for place in places} == {"packaging"}


def test_other_files_are_units_of_their_own() -> None:
    assert unit_of("tests/target/test_odx.py::test_a[1/2]") == "tests/target/test_odx.py"
    assert unit_of("tests/test_docs.py::test_a") == "tests/test_docs.py"


def test_every_folder_with_a_dear_fixture_stays_together() -> None:
    """What a fixture of the session makes would be made by each process."""
    shared = {
        path.parent.name
        for path in TESTS.glob("*/conftest.py")
        if 'scope="session"' in path.read_text() and path.parent.name not in CHEAP
    }
    assert shared <= set(TOGETHER)


CHEAP = {"conformance", "faults", "hostile", "services", "target"}
"""Folders whose fixtures of the session take a few seconds, less than their tests would wait for one another."""


@pytest.mark.parametrize(
    ("place", "folder"), [("tests/boot/test_boot.py::test_a", "boot"), ("tests/test_docs.py::test_a", "")]
)
def test_folder_of_a_test(place: str, folder: str) -> None:
    assert folder_of(place) == folder


def test_a_file_is_run_by_one_process() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "-n",
        "2",
        "-p",
        "no:cacheprovider",
        "tests/wire",
        "tests/negotiation",
    ]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    ran = set(re.findall(r"^\[(gw\d+)\] .*PASSED (tests/[a-z_/]+\.py)", done.stdout, re.MULTILINE))
    assert {process for process, _ in ran} == {"gw0", "gw1"}
    files = [file for _, file in ran]
    assert len(files) == len(set(files)) > 5
