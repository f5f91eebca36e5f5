"""A data folder of its own for every test, and image formats to fill it with."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from goldherd.catalog import Catalog, VersionRecord
from goldherd.catalog.importing import import_image

TOYS = Path(__file__).with_name("toy_formats.py")


def load_toys() -> ModuleType:
    """The module toy_formats, whose folder is no package."""
    if "toy_formats" not in sys.modules:
        specification = importlib.util.spec_from_file_location("toy_formats", TOYS)
        assert specification is not None and specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules["toy_formats"] = module
        specification.loader.exec_module(module)
    return sys.modules["toy_formats"]


@pytest.fixture
def formats() -> Any:
    return load_toys().ToyFormats()


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "data") as opened:
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
        formats.create(f"{'vhd' if parent else 'vhd-fixed'}:{path}", size_bytes, parent)
        return path

    return make


def quiet(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def seal(catalog: Catalog, formats: Any, make_raw: Callable[..., Path]) -> Callable[..., VersionRecord]:
    """Imports a disk as the next version of an image."""

    def do(name: str = "lab", source: Path | None = None, **options: Any) -> VersionRecord:
        return import_image(catalog, formats, source or make_raw(), name, progress=quiet, **options)

    return do
