"""The file system of the tests, built once."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.filesystem import FaultFs, build, scratch


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled file system; the test fails when it can't be built."""
    return build(tmp_path_factory.mktemp("faultfs"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, removed afterwards."""
    made = scratch()
    yield made
    shutil.rmtree(made)


@pytest.fixture
def filesystem(program: Path, folder: Path) -> Iterator[FaultFs]:
    """Mounted over an empty folder."""
    with FaultFs(program, folder) as mounted:
        yield mounted
