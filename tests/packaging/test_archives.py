"""What the source archive and the wheel hold."""

import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT

SHARE = "goldherd-{version}.data/data/share"
MODULES_BYTES_MAX = 3 << 20


@pytest.fixture(scope="module")
def archived(sdist: Path) -> set[str]:
    """The files of the source archive, below its one folder."""
    with tarfile.open(sdist) as archive:
        return {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}


@pytest.fixture(scope="module")
def installed(wheel: Path) -> dict[str, int]:
    """The files of the wheel with their sizes."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.file_size for info in archive.infolist()}


def relative(*patterns: str) -> set[str]:
    """Files of this tree below their source root."""
    return {
        str(path.relative_to(ROOT / root))
        for root in ("core", "plugins")
        for pattern in patterns
        for path in (ROOT / root).rglob(pattern)
    }


def test_source_archive_holds_all_that_git_keeps(tree: Path, archived: set[str]) -> None:
    kept = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    of_the_checkout = {name for name in kept if name.startswith((".", "build/", "goldherd.egg-info/"))}
    assert kept - of_the_checkout <= archived


def test_source_archive_holds_nothing_compiled(archived: set[str]) -> None:
    assert not {name for name in archived if name.endswith((".so", ".o", ".pyc"))}


def test_wheel_of_the_source_archive_has_every_module(installed: dict[str, int]) -> None:
    compiled = {name.split(".")[0] for name in installed if name.endswith(".so")}
    assert compiled == {name.removesuffix(".pyx") for name in relative("*.pyx")} | {"goldherd/native/goldherd_cython"}
    assert relative("*.py", "*.pyi", "*.pxd", "*.pyx", "py.typed") <= installed.keys()


def test_modules_hold_no_symbols(wheel: Path, installed: dict[str, int], tmp_path: Path) -> None:
    modules = [name for name in installed if name.endswith(".so")]
    assert sum(installed[name] for name in modules) < MODULES_BYTES_MAX
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path, modules)
    for name in modules:
        sections = subprocess.run(
            ["readelf", "-SW", tmp_path / name], capture_output=True, text=True, check=True
        ).stdout
        assert ".symtab" not in sections and ".debug_info" not in sections, name


@pytest.mark.parametrize(
    "name",
    [
        "goldherd/deploy/goldherd.service",
        "goldherd/deploy/goldherd.sysusers",
        "goldherd/deploy/goldherd.tmpfiles",
        "goldherd/examples/plugin_zip/goldherd_zip.py",
        "doc/goldherd/README.md",
        "doc/goldherd/cli.md",
        "doc/goldherd/formats/vhd.md",
        "man/man1/goldherd.1",
    ],
)
def test_wheel_brings_unit_examples_documents_and_man_page(installed: dict[str, int], wheel: Path, name: str) -> None:
    version = wheel.name.split("-")[1]
    assert f"{SHARE.format(version=version)}/{name}" in installed
