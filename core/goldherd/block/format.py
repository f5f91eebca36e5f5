"""What an image format is: the contract between goldherd and a plugin that brings one.

A plugin's hook `image_formats` returns objects of classes derived from Format. A format names its capabilities, and
goldherd calls no method that they do not promise. Knows no format and no plugin; goldherd/formats.py keeps the
formats of all plugins and calls them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from goldherd.block.image import Image
from goldherd.errors import ImageError

ANY: Final = "*"
"""In `Capabilities.parents`: images of every format."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a format can do besides being read. A capability that a format does not name, it does not have."""

    write: bool = False
    """An image can be opened for writing."""
    create: bool = False
    """New, empty images can be made."""
    parents: frozenset[str] = frozenset()
    """The formats that a differencing child of this format can be based on, or {ANY}; empty: it has no children."""
    plain: bool = False
    """The bytes of the disk lie in the file in order, from its first byte on; the format's own bytes stand behind."""
    file: bool = True
    """A location is the path of one file, so that an image can be copied, hashed, sealed and removed."""
    sparse: bool = False
    """What was never written takes no space: by holes if the format is `plain`, else by tables of its own."""
    discard: bool = False
    """Discarded ranges give their space back; without it they are zeros that take space."""
    resize: bool = False
    """`resize` changes the size of a disk."""
    snapshot: bool = False
    """`snapshot` makes a copy of one moment."""


class Place(NamedTuple):
    """An image by the name of its format and its location."""

    format: str
    location: str

    def __str__(self) -> str:
        return f"{self.format}:{self.location}"


class Opener(Protocol):
    """What a format may ask of goldherd while it opens an image."""

    @property
    def parent(self) -> Path | None:
        """The parent that the administrator named; None: the format searches for it."""
        ...

    @property
    def search(self) -> Sequence[Path]:
        """The folders in which parents may be searched for, besides the child's own."""
        ...

    def known(self, identity: str) -> Path | None:
        """The sealed file with that identity (`Format.identity`), for a parent that no name leads to; None: there is
        none."""
        ...

    def open_parent(self, path: Path, format_name: str) -> Image:
        """The sealed image at path, opened once for all its children; ImageError if it can't be a parent (missing,
        changed since it was sealed, outside the allowed folders, a loop)."""
        ...


@dataclass(frozen=True, slots=True)
class NoOptions:
    """The options of a format or filter that has none."""


class Format:
    """One image format. The class attributes say what it is; the methods are called on threads that may sleep."""

    name: ClassVar[str]
    """What stands before the colon of a URL: lower-case letters, digits and hyphens."""
    title: ClassVar[str] = ""
    """The format in a few words, for people."""
    capabilities: ClassVar[Capabilities] = Capabilities()
    options: ClassVar[type[Any]] = NoOptions
    """The type of its options: a dataclass or a pydantic model. Every field has a default and is read from text:
    `longer_child: bool = False` is written `longer-child` or `longer-child=yes`."""

    def probe(self, path: Path, head: bytes, tail: bytes) -> bool:  # noqa: ARG002
        """Whether a file is of this format.

        Args:
            path: the file; the format may open it for a closer look, read-only.
            head: its first 4096 bytes (fewer if shorter). The guest of a raw disk wrote them: a format that can
                be faked asks for a name that says so too.
            tail: its last 4096 bytes.
        """
        return False

    def open(self, location: str, mode: str, opener: Opener, options: Any) -> Image:  # noqa: ARG002
        """The disk at a location.

        Args:
            location: everything behind "name:" of a URL, unchanged; a path if `capabilities.file`.
            mode: "r" (nothing is ever written) or "rw".
            opener: parents and folders.
            options: of the type `options`.

        Raises:
            ImageError: one sentence that says what is wrong and what to do.
        """
        raise self.refusal(location, "opens no image")

    def create(self, location: str, size_bytes: int, parent: Place | None, options: Any) -> None:  # noqa: ARG002
        """Makes a new, empty image: whole or not at all (temporary name, fsync, rename).

        Args:
            location: where; nothing may be there yet.
            size_bytes: the size of the disk; that of the parent if there is one.
            parent: the sealed image that a differencing child is based on.
            options: of the type `options`.
        """
        raise self.refusal(location, "makes no images")

    def check(self, location: str) -> Sequence[str]:  # noqa: ARG002
        """What is wrong with an image, a sentence each; empty if it is sound. Nothing is changed."""
        return ()

    def identity(self, location: str) -> str | None:  # noqa: ARG002
        """The mark by which children know their parent, whatever its file is called; None: the format has none."""
        return None

    def resize(self, location: str, size_bytes: int, options: Any) -> None:  # noqa: ARG002
        """Gives an image that is not open another size; what is beyond a smaller one is lost."""
        raise self.refusal(location, "changes no sizes")

    def snapshot(self, location: str, target: str) -> None:  # noqa: ARG002
        """Makes, at another location, an image with the bytes that the disk has now."""
        raise self.refusal(location, "makes no snapshots")

    def refusal(self, location: str, what: str) -> ImageError:
        """The sentence for something that this format can't."""
        return ImageError(f"{location} can't be used this way: the format {self.name} {what}.", path=location)
