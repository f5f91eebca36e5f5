"""VHD as goldherd's formats: what it can, and its own options.

"vhd" opens disks of every kind, and makes dynamic ones, or differencing ones over a parent. "vhd-fixed" makes fixed
ones: the bytes of the disk, and a footer behind them.
"""

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from goldherd import Capabilities, Format, Image, Opener, Place
from goldherd.errors import ImageError
from goldherd.files.locks import open_locked

from goldherd_plugins.vhd.create import create_differencing, create_dynamic, create_fixed
from goldherd_plugins.vhd.opening import open_vhd
from goldherd_plugins.vhd.survey import Survey, survey

VHD_SUFFIXES: Final = frozenset({".vhd", ".avhd", ".vpc"})
"""Names that promise a VHD: if the content is none, opening says what is wrong with it. Where the content is a VHD's
and the name is not, the administrator is asked (goldherd/formats.py)."""
_PARENTS = frozenset({"vhd", "vhd-fixed"})


@dataclass(frozen=True, slots=True)
class VhdOptions:
    """What may be said of a VHD when it is opened or made."""

    chs_size: bool = False
    """The size is that of the geometry, as old Virtual PC guests see it, instead of the size field's."""
    longer_child: bool = False
    """A child may be longer than its parent (it was resized): zeros past the parent's end."""
    unique_id: str = ""
    """The unique id of a new disk as 32 hexadecimal digits; one is drawn by default."""


@dataclass(frozen=True, slots=True)
class FixedOptions(VhdOptions):
    """What may be said of a fixed VHD besides."""

    preallocate: bool = True
    """A new file gets all its space at once."""


class VhdFormat(Format):
    """ "vhd:PATH"."""

    name = "vhd"
    title = "Virtual Hard Disk: dynamic, differencing and fixed"
    capabilities = Capabilities(write=True, create=True, parents=_PARENTS, sparse=True, discard=True)
    options = VhdOptions

    def probe(self, path: Path, head: bytes, tail: bytes) -> bool:  # noqa: ARG002
        """Decided by what no guest can write, or not at all: the name. The guest of a raw disk writes every byte of
        its file, and could put a VHD footer there to make the next export read another file as its "parent"."""
        return path.suffix.lower() in VHD_SUFFIXES

    def open(self, location: str, mode: str, opener: Opener, options: VhdOptions) -> Image:
        return open_vhd(location, mode, opener, chs_size=options.chs_size, longer_child=options.longer_child)

    def create(self, location: str, size_bytes: int, parent: Place | None, options: Any) -> None:
        unique_id = _bytes_of(options.unique_id)
        if parent is None:
            create_dynamic(Path(location), size_bytes, unique_id=unique_id)
        else:
            create_differencing(Path(location), Path(parent.location), size_bytes, unique_id=unique_id)

    def check(self, location: str) -> Sequence[str]:
        try:
            found = _survey(location)
        except ImageError as error:
            return (str(error),)
        if found.ends.footer_bytes == 0:
            return (
                f"{location} has lost its footer at the end; it is written again when the disk is opened for writing.",
            )
        if found.ends.copy_stale:
            return (
                f"{location} has an old copy of its footer; it is written again when the disk is opened for writing.",
            )
        return ()

    def identity(self, location: str) -> str | None:
        return uuid.UUID(bytes=_survey(location).footer.unique_id).hex


class FixedVhdFormat(VhdFormat):
    """ "vhd-fixed:PATH"."""

    name = "vhd-fixed"
    title = "Virtual Hard Disk, fixed: a raw disk with a footer behind it"
    capabilities = Capabilities(write=True, create=True, plain=True, discard=True)
    options = FixedOptions

    def probe(self, path: Path, head: bytes, tail: bytes) -> bool:  # noqa: ARG002
        return False  # "vhd" answers for files of every kind

    def create(self, location: str, size_bytes: int, parent: Place | None, options: FixedOptions) -> None:  # noqa: ARG002
        unique_id = _bytes_of(options.unique_id)
        create_fixed(Path(location), size_bytes, unique_id=unique_id, preallocate=options.preallocate)


def _survey(path: str) -> Survey:
    """The structures of a file that nobody writes at this moment."""
    fd = open_locked(path, "r")
    try:
        return survey(fd, path)
    except OSError as error:
        raise ImageError(f"Could not read {path}: {error.strerror or error}.", path=path) from error
    finally:
        os.close(fd)


def _bytes_of(unique_id: str) -> bytes | None:
    """The 16 bytes of an option unique-id; None when it was left out."""
    try:
        return uuid.UUID(hex=unique_id).bytes if unique_id else None
    except ValueError:
        raise ImageError(f"'{unique_id}' is no unique id: 32 hexadecimal digits are.") from None
