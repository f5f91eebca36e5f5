"""What tests of backends share: an opener as the house gives one, and a disk of every kind."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from goldherd import Image, Place
from goldherd.block.memory import MemoryImage
from goldherd.errors import ImageError
from goldherd.hooks import BUILTIN, Hooks
from goldherd.model.options import OptionTexts


class Opener:
    """Opens parents once each, read-only, through the hooks; closes them at the end of the test."""

    def __init__(self, parent: Path | None = None, search: Sequence[Path] = ()) -> None:
        self.parent = parent
        self.search = search
        self.options: OptionTexts = ()
        self.by_identity: dict[str, Path] = {}
        self.parents: dict[Path, Image] = {}

    def known(self, identity: str) -> Path | None:
        return self.by_identity.get(identity)

    def open_parent(self, path: Path, format_name: str) -> Image:
        if path not in self.parents:
            below = Opener(search=self.search)
            below.parents = self.parents
            self.parents[path] = open_disk(f"{format_name}:{path}", "r", below)
        return self.parents[path]

    def close(self) -> None:
        for image in self.parents.values():
            image.close()
        self.parents.clear()


FORMATS = Hooks((name, BUILTIN[name]) for name in ("backend_raw", "backend_sparse", "vhd")).formats
"""Our own formats."""


def open_disk(url: str, mode: str, opener: Opener | None = None) -> Image:
    opener = opener or Opener()
    return FORMATS.open(url, mode, opener, opener.options)


def create_disk(url: str, size_bytes: int, parent: Path | None = None) -> None:
    FORMATS.create(url, size_bytes, None if parent is None else Place("vhd", str(parent)))


class Disk:
    """A disk of one kind that a test opens, closes and opens again."""

    def __init__(self, folder: Path, kind: str, size_bytes: int) -> None:
        self.kind = kind
        self.path = folder / f"{kind}.vhd"
        self.size_bytes = size_bytes
        self.opener = Opener()
        self._memory: MemoryImage | None = None
        match kind:
            case "memory":
                self._memory = MemoryImage(size_bytes)
            case "raw" | "sparse":
                self.url = f"{kind}:{self.path}"
                create_disk(self.url, size_bytes)
            case "fixed":
                self.url = f"vhd:{self.path}"
                create_disk(f"vhd-fixed:{self.path}", size_bytes)
            case "dynamic":
                self.url = f"vhd:{self.path}"
                create_disk(self.url, size_bytes)
            case "differencing":
                self.url = f"vhd:{self.path}"
                create_disk(f"vhd:{folder / 'parent.vhd'}", size_bytes)
                create_disk(self.url, size_bytes, folder / "parent.vhd")
            case _:
                raise ImageError(f"no such kind: {kind}")

    def open(self, mode: str = "rw") -> Image:
        return self._memory or open_disk(self.url, mode, self.opener)


KINDS = ("memory", "raw", "sparse", "fixed", "dynamic", "differencing")


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[Callable[[str, int], Disk]]:
    disks: list[Disk] = []

    def make(kind: str, size_bytes: int) -> Disk:
        disks.append(Disk(tmp_path, kind, size_bytes))
        return disks[-1]

    yield make
    for disk in disks:
        disk.opener.close()
