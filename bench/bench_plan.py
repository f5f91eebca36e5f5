"""Where sectors live: 1,000 look-ups of 4 KiB at fixed places, through the door that people and tests use.

The door makes Python objects of every answer; that cost is the same in each line, so compare lines with each other.
"""

import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from goldherd import Place
from goldherd.block.file import FileImage
from goldherd.block.golden import GoldenCache
from goldherd.block.image import Image, NativeImage
from goldherd.hooks import BUILTIN, Hooks

from bench.steady import Steady, group

pytestmark = group("look-up: 1,000 plans of 4 KiB")

DISK_BYTES = 64 << 20
OFFSETS = [place * 4096 for place in random.Random(5).choices(range(DISK_BYTES // 4096), k=1000)]

formats = Hooks([("vhd", BUILTIN["vhd"])]).formats


class Cached:
    """Gives children their parents through a golden cache."""

    parent: Path | None = None
    search: Sequence[Path] = ()

    def __init__(self) -> None:
        self.cache = GoldenCache(2 * DISK_BYTES)
        self.parents: list[Image] = []

    def known(self, identity: str) -> Path | None:  # noqa: ARG002
        """The parent lies beside its child."""
        return None

    def open_parent(self, path: Path, format_name: str) -> Image:
        """The parent, through the golden cache."""
        source = formats.open(f"{format_name}:{path}", "r", self)
        self.parents.append(self.cache.adopt(source))
        return self.parents[-1]


def warm(image: NativeImage) -> NativeImage:
    """Everything that is fetched is in memory."""
    for offset in range(0, DISK_BYTES, 262144):
        while image.plan_of(offset, 262144) == "cold":
            time.sleep(0.001)
    return image


def child(folder: Path, mixed: bool) -> tuple[NativeImage, Cached]:
    """A differencing child over a parent full of data; `mixed`: every fourth sector is its own."""
    parent, path = folder / "parent.vhd", folder / "child.vhd"
    formats.create(f"vhd:{parent}", DISK_BYTES)
    opener = Cached()
    below = formats.open(f"vhd:{parent}", "rw", opener)
    content = random.Random(6).randbytes(1 << 20)
    for offset in range(0, DISK_BYTES, 1 << 20):
        below.write(offset, memoryview(content))
    below.close()
    formats.create(f"vhd:{path}", DISK_BYTES, Place("vhd", str(parent)))
    image = formats.open(f"vhd:{path}", "rw", opener)
    assert isinstance(image, NativeImage)
    if mixed:
        for offset in range(0, DISK_BYTES, 2048):
            image.write(offset, memoryview(content[:512]))
    return image, opener


@pytest.fixture(params=["raw", "golden", "young child", "mixed child"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NativeImage]:
    """A disk of each kind, all of it in memory."""
    if "child" in request.param:
        made, opener = child(tmp_path, request.param.startswith("mixed"))
        yield warm(made)
        made.close()
        for parent in opener.parents:
            parent.close()
        return
    path = tmp_path / "raw"
    path.write_bytes(random.Random(6).randbytes(1 << 20) * 64)
    raw = FileImage(os.open(path, os.O_RDONLY), DISK_BYTES, read_only=True, path=str(path))
    if request.param == "raw":
        yield warm(raw)
        raw.close()
    else:
        golden = GoldenCache(2 * DISK_BYTES).adopt(raw)
        yield warm(golden)
        golden.close()


def test_plan_of_4k(steady: Steady, image: NativeImage) -> None:
    """Random 4 KiB ranges."""

    def run() -> None:
        for offset in OFFSETS:
            image.plan_of(offset, 4096)

    steady(run)
