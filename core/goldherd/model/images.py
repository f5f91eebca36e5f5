"""Images and their versions: plain, frozen records. Paths are absolute; times are UTC in ISO 8601."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

from goldherd.model.options import OptionTexts
from goldherd.model.plugins import PluginRecord

State = Literal["draft", "sealed", "active", "retired"]
Outcome = Literal["right", "changed", "unreadable"]
"""What the last look at every byte of a sealed file found."""

PLAIN_HASH: Final = "sha256"
"""SHA-256 over all bytes: what versions were sealed with before there was another."""
CONTENT_HASH: Final = "sha256-chunks"
"""The content hash of goldherd/files/hashing.py."""


class ImageRef(NamedTuple):
    """`name` or `name@number` as a user writes it."""

    image: str
    number: int | None

    def __str__(self) -> str:
        return self.image if self.number is None else f"{self.image}@{self.number}"


@dataclass(frozen=True, slots=True)
class Seal:
    """What a sealed file looked like: VHD itself has no field that shows a change of the parent."""

    file_bytes: int
    mtime_ns: int
    guard: str
    """SHA-256 of the file's head and tail (sealing.py)."""
    verity: str | None = None
    """The fs-verity digest of the file (files/verity.py); None: the file system does not protect it."""


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version of an image."""

    image: str
    number: int
    state: State
    path: Path
    format: str
    size_bytes: int
    """The disk's size, not the file's."""
    hash: str
    """Of the file as it is stored, by that algorithm: what `image verify` compares."""
    hash_algorithm: str
    """PLAIN_HASH or CONTENT_HASH."""
    source_hash: str
    """Of the file that was imported; differs from `hash` when a raw disk was given a VHD footer."""
    sha256: str | None
    """SHA-256 over all bytes of the stored file, as sha256sum(1) prints it; None for a file of many holes."""
    source_sha256: str | None
    """The same of the file that was imported."""
    seal: Seal
    in_place: bool
    parent: str | None
    """The version it is a differencing child of, as `name@number`."""
    created_at: str
    filters: tuple[str, ...] = ()
    """Filters over the disks of nodes on it, each as `name:option=value,...`, the first nearest to the disk."""
    changed: str | None = None
    """How its file was found changed; no node gets it until `image verify` has found it right. None: it was not."""
    changed_at: str | None = None
    times_changed: int = 0
    """How often it was found changed: what was read of the file before the last time may be wrong."""
    verified_at: str | None = None
    """When every byte was last compared with the hash; None: not since it was sealed."""
    outcome: Outcome | None = None
    """What that found."""

    @property
    def name(self) -> str:
        """`lab@1`."""
        return f"{self.image}@{self.number}"

    @property
    def ref(self) -> ImageRef:
        """The reference that means exactly this version."""
        return ImageRef(self.image, self.number)


@dataclass(frozen=True, slots=True)
class Totals:
    """The catalog in numbers."""

    images: int
    versions: int
    nodes: int
    golden_bytes: int


class OpenedImage(Protocol):
    """What the catalog needs of an opened disk."""

    size_bytes: int

    def close(self) -> None:
        """Lets go of the file."""
        ...


class Formats(Protocol):
    """The image formats, as goldherd.formats.Formats offers them: the catalog itself knows none."""

    @property
    def plugins(self) -> Sequence[PluginRecord]:
        """The plugins in use with what they bring, and those that are not used."""
        ...

    def probe(self, path: Path) -> str:
        """The format of a file."""
        ...

    def open(self, url: str, mode: str, opener: Any) -> OpenedImage:
        """Opens "format:path"."""
        ...

    def create(self, url: str, size_bytes: int, parent: Any = None, options: OptionTexts = ()) -> object:
        """Makes a new image, whole or not at all; the parent is a goldherd.Place."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """The formats, goldherd's own first."""
        ...

    def capabilities(self, name: str) -> Any:
        """What a format can (goldherd.Capabilities)."""
        ...

    def child_format(self, parent: str) -> Any:
        """The format of the differencing children of a parent; None when it can't have any."""
        ...

    def check_filters(self, image: Any, filters: Any) -> None:
        """Raises ImageError or SettingsError unless an open image can be put under filters (goldherd.FilterSpec)."""
        ...

    def check(self, url: str) -> Sequence[str]:
        """What is wrong with an image, a sentence each."""
        ...

    def identity(self, url: str) -> str | None:
        """The mark by which children know an image."""
        ...
