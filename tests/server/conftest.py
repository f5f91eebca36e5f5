"""A data folder made once by the real commands and copied for each test: a golden disk and four nodes."""

import shutil
from pathlib import Path

import pytest

from bench.pattern import write_pattern
from tests.server.daemon import Herd

GOLDEN_BYTES = 16 << 20


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw disk in which each 8-byte word holds its offset."""
    return write_pattern(tmp_path_factory.mktemp("golden") / "golden.raw", GOLDEN_BYTES)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, raw: Path) -> Path:
    data = tmp_path_factory.mktemp("herd") / "data"
    herd = Herd(data)
    herd.do("image", "import", raw, "--name", "lab")
    herd.do("node", "add", "pc-[001-004]", "--image", "lab")
    return data


@pytest.fixture
def herd(template: Path, tmp_path: Path) -> Herd:
    """The image lab@1 and the nodes pc-001 to pc-004, not served yet."""
    shutil.copytree(template, tmp_path / "data")
    return Herd(tmp_path / "data")
