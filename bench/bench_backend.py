"""What reads and writes cost through the door of an image, backend beside backend: ours, or those that you name.

    python -m pytest bench/bench_backend.py
    python -m pytest bench/bench_backend.py --backend raw:disk.raw --backend mine:disk.mine [--backend-writes]

A backend is named as for `goldherd export`: FILE or FORMAT:LOCATION, with options. This is the door that Python uses;
goldherd itself reads compiled backends without Python, so compare a compiled one with others by bench.paired.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest
from goldherd.block.golden import GoldenCache
from goldherd.block.image import Image
from goldherd.cli.commands.luns import parse_lun
from goldherd.hooks import Hooks
from goldherd.model.targets import LunConfig
from goldherd.target.disks import Disks

from bench.steady import Steady, group

OURS_BYTES: Final = 64 << 20
PLACES: Final = 64
"""Reads or writes of one call, at fixed places all over the disk."""


@dataclass(frozen=True)
class Access:
    """One kind of access to a disk."""

    kib: int
    write: bool = False

    def __str__(self) -> str:
        return f"{'write' if self.write else 'read'} {self.kib}K"


READS: Final = (Access(4), Access(64), Access(1024))
WRITES: Final = (Access(4, write=True), Access(64, write=True))
OURS: Final = ("raw", "sparse", "vhd", "vhd child")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every access to every backend; disks that you name are written to only when you say so."""
    named = metafunc.config.getoption("--backend")
    writes = not named or metafunc.config.getoption("--backend-writes")
    cases = [*READS, *(WRITES if writes else ())]
    marked = [pytest.param(case, id=str(case), marks=group(f"backend: {PLACES} times {case}")) for case in cases]
    metafunc.parametrize("access", marked)
    metafunc.parametrize("backend", named or OURS, ids=str)


@pytest.fixture
def image(backend: str, access: Access, tmp_path: Path) -> Iterator[Image]:
    """The open disk of a backend."""
    hooks = Hooks()
    disks = Disks(hooks, GoldenCache(2 * OURS_BYTES))
    own = backend in OURS
    config = made(hooks, backend, tmp_path) if own else parse_lun(backend, 0)
    opened = disks.open(replace(config, read_only=config.read_only or not access.write))
    yield opened
    if not disks.is_shared(opened):
        opened.close()
    disks.close()


def made(hooks: Hooks, kind: str, folder: Path) -> LunConfig:
    """A new disk of one of our formats, every block of it written."""
    form = kind.removesuffix(" child")
    path = folder / f"disk.{form}"
    hooks.formats.create(f"{form}:{path}", OURS_BYTES)
    disks = Disks(hooks, GoldenCache(OURS_BYTES))
    config = LunConfig(0, str(path), format=form)
    filled = disks.open(config)
    content = memoryview(random.Random(6).randbytes(1 << 20))
    for offset in range(0, OURS_BYTES, len(content)):
        filled.write(offset, content)
    filled.flush()
    filled.close()
    if form == kind:
        return config
    child = LunConfig(0, str(folder / "child.vhd"), format=form, parent=path, parent_format=form, create=True)
    disks.open(child).close()
    disks.close()
    return replace(child, create=False)


def places(image: Image, length: int) -> list[int]:
    """The fixed places of one call."""
    blocks = image.size_bytes // length
    if not blocks:
        raise pytest.UsageError(f"{image.path} has {image.size_bytes} bytes: too small for accesses of {length} bytes.")
    return [block * length for block in random.Random(7).choices(range(blocks), k=PLACES)]


def test_access(steady: Steady, image: Image, access: Access) -> None:
    """Reads into one buffer, or writes out of one."""
    length = access.kib * 1024
    offsets = places(image, length)
    buffer = memoryview(bytearray(random.Random(8).randbytes(length)))
    content = bytes(buffer)

    def read() -> None:
        for offset in offsets:
            image.read_into(offset, buffer)

    def write() -> None:
        for offset in offsets:
            image.write(offset, buffer)

    steady(write if access.write else read)
    if access.write:
        image.flush()
        assert all(image.read(offset, length) == content for offset in offsets)
    else:
        assert buffer == image.read(offsets[-1], length)
