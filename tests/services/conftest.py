"""A data folder of its own for every test, and disks to fill it with."""

import copy
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from goldherd import Place
from goldherd.hooks import Hooks
from goldherd.model.images import VersionRecord
from goldherd.services.context import Services
from goldherd.services.importing import import_image
from goldherd.volumes.marks import MARK

PREFIX = "iqn.2026-11.io.test"


@pytest.fixture(scope="session")
def plugins() -> Hooks:
    return Hooks()


@pytest.fixture
def formats(plugins: Hooks) -> Any:
    """The installed plugins; what a test changes of them is its own."""
    return copy.copy(plugins.formats)


@pytest.fixture
def services(tmp_path: Path, formats: Any) -> Iterator[Services]:
    with Services(tmp_path / "data", lambda: formats, PREFIX) as opened:
        yield opened


@pytest.fixture
def make_raw(tmp_path: Path) -> Callable[..., Path]:
    """Makes a raw disk: some data, a hole, some data."""

    def make(name: str = "golden.raw", size_bytes: int = 1 << 20) -> Path:
        path = tmp_path / name
        with path.open("wb") as file:
            file.truncate(size_bytes)
            file.write(os.urandom(4096))
            file.seek(size_bytes - 4096)
            file.write(os.urandom(4096))
        return path

    return make


@pytest.fixture
def make_vhd(tmp_path: Path, formats: Any) -> Callable[..., Path]:
    """Makes a VHD, fixed or differencing."""

    def make(name: str = "golden.vhd", size_bytes: int = 1 << 20, parent: Path | None = None) -> Path:
        path = tmp_path / name
        place = None if parent is None else Place("vhd", str(parent))
        formats.create(f"{'vhd' if parent else 'vhd-fixed'}:{path}", size_bytes, place)
        return path

    return make


def quiet(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def seal(services: Services, make_raw: Callable[..., Path]) -> Callable[..., VersionRecord]:
    """Imports a disk as the next version of an image."""

    def do(name: str = "lab", source: Path | None = None, **options: Any) -> VersionRecord:
        return import_image(services, source or make_raw(), name, progress=quiet, **options)

    return do


def lying(folder: Path) -> list[Path]:
    """What lies in a folder of disks, half-made files included, beside the mark of the volume."""
    return [path for path in folder.iterdir() if path.name != MARK]
