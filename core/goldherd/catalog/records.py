"""The records that cross the catalog's door: plain, frozen, without a database behind them.

Secrets are in none of them. Paths are absolute; times are UTC in ISO 8601.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

State = Literal["draft", "sealed", "active", "retired"]
Policy = Literal["keep", "reset"]
POLICIES: Final = ("keep", "reset")
ANY_INITIATOR: Final = "any"
"""The initiator that stands for all of them: whoever asks is admitted."""
ANYBODY: Final = f"initiator:{ANY_INITIATOR}"
"""The rule that says so."""

Progress = Callable[[str, int, int], None]
"""Told while something long goes on: what is being done, bytes done, bytes in all."""


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
    sha256: str
    """Of the file as it is stored."""
    source_sha256: str
    """Of the file that was imported; differs from sha256 when a raw disk was given a VHD footer."""
    seal: Seal
    in_place: bool
    parent: str | None
    """The version it is a differencing child of, as `name@number`."""
    created_at: str

    @property
    def name(self) -> str:
        """`lab@1`."""
        return f"{self.image}@{self.number}"


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One diskless machine."""

    name: str
    macs: tuple[str, ...]
    rules: tuple[str, ...]
    """Its access rules as text, `kind:value`; one that fits admits."""
    image: str
    version: int | None
    """What its next login gets; None while the image has no active version."""
    pinned: bool
    """Whether the version was chosen by number; otherwise the node follows the active one."""
    policy: Policy
    chap_user: str | None
    overlay: Path | None
    created_at: str
    seen_at: str | None
    seen_address: str | None

    @property
    def initiators(self) -> tuple[str, ...]:
        """The initiators that it admits by name, `any` among them if it admits all."""
        return tuple(rule.removeprefix("initiator:") for rule in self.rules if rule.startswith("initiator:"))


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
    """The image formats, as goldherd.hooks.Hooks offers them: the catalog itself knows none."""

    def probe(self, path: Path) -> str:
        """The format of a file."""
        ...

    def open(self, url: str, mode: str, opener: Any) -> OpenedImage:
        """Opens "format:path"."""
        ...

    def create(self, url: str, size_bytes: int, parent: Path | None) -> object:
        """Makes a new image, whole or not at all."""
        ...
