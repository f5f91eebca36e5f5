"""A data folder made once by the real commands and copied for each test: a golden disk and four nodes."""

import os
import shutil
import textwrap
from pathlib import Path

import pytest

from bench.pattern import write_pattern
from tests.support.faulty_calls import FaultyCalls, build
from tests.target.daemon import Herd

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


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("faulty"))


@pytest.fixture
def faults(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaultyCalls:
    """The system calls of every process that the test starts from here on."""
    faults = FaultyCalls(library, tmp_path)
    for name, value in faults.environment.items():
        monkeypatch.setenv(name, value)
    return faults


def install(name: str, source: str, folder: Path) -> None:
    """What pip leaves behind: a module and its entry point."""
    (folder / f"{name}.py").write_text(source)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        textwrap.dedent(f"""
        [goldherd]
        {name} = {name}
    """)
    )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages that the daemon sees."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep))
    return folder
