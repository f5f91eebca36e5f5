"""Makes VHD files: whole or not at all, under their names only when everything is on stable storage.

A dynamic or differencing file starts as: footer copy, dynamic header, locator texts, BAT, footer. The first
block comes behind, its data on a 4 KiB border (writer.pyx).
"""

import os
from functools import lru_cache
from pathlib import Path

from goldherd.errors import ImageError
from goldherd.files.newfile import new_file
from goldherd.files.space import allocate

from goldherd_plugins.vhd import layout
from goldherd_plugins.vhd.layout import (
    DIFFERENCING,
    DYNAMIC,
    FIXED,
    FOOTER_BYTES,
    HEADER_BYTES,
    SECTOR,
    Locator,
)
from goldherd_plugins.vhd.parents import Candidate, look_at

BLOCK_BYTES = 2 << 20
"""What every program makes and reads; holes keep small random writes from costing whole blocks of space."""
_NAME_UNITS_MAX = 256


def create_fixed(path: Path, size_bytes: int, *, unique_id: bytes | None = None, preallocate: bool = True) -> None:
    """A fixed disk of zeros, with its space set aside unless it is to be one hole."""
    layout.check_disk_size(size_bytes, str(path))
    with new_file(path) as fd:
        if preallocate:
            allocate(fd, size_bytes + FOOTER_BYTES)
        _write(fd, layout.build_footer(FIXED, size_bytes, unique_id=unique_id), size_bytes)


def create_dynamic(
    path: Path, size_bytes: int, block_bytes: int = BLOCK_BYTES, *, unique_id: bytes | None = None
) -> None:
    """An empty dynamic disk; its unique id is drawn unless it is given."""
    layout.check_disk_size(size_bytes, str(path))
    at = FOOTER_BYTES + HEADER_BYTES
    header = layout.build_header(size_bytes, block_bytes, at)
    footer = layout.build_footer(DYNAMIC, size_bytes, unique_id=unique_id)
    _create_table_disk(path, footer, header + _empty_table(size_bytes, block_bytes))


def create_differencing(
    path: Path,
    parent: Path,
    size_bytes: int | None = None,
    block_bytes: int = BLOCK_BYTES,
    *,
    unique_id: bytes | None = None,
) -> None:
    """An empty child: it reads as its parent until it is written.

    Args:
        path: the new file.
        parent: the parent's file, a VHD of any kind.
        size_bytes: None or the parent's size: a child has the size of its parent.
        block_bytes: data in a block.
        unique_id: that of the child; drawn unless given.

    Raises:
        ImageError: the parent can't be one, or the file can't be made.
    """
    candidate = _parent(parent)
    found = candidate.found
    if found is None:
        raise ImageError(
            f"{parent} can't be the parent of a VHD: it is {candidate.problem}. Convert it to a VHD first, "
            "or take another.",
            path=str(parent),
        )
    size = found.footer.current_size
    if size_bytes is not None and size_bytes != size:
        raise ImageError(
            f"Could not create {path} with {size_bytes} bytes: a child has the size of its parent, {size} bytes.",
            path=str(path),
        )
    absolute = str(candidate.path)
    relative = os.path.relpath(absolute, path.parent.resolve())
    texts = ((layout.W2RU, _windows(relative, parent)), (layout.W2KU, _windows(absolute, parent)))
    at = FOOTER_BYTES + HEADER_BYTES
    locators: list[Locator] = []
    names = b""
    for platform, raw in texts:
        space = -(-len(raw) // SECTOR) * SECTOR
        locators.append(Locator(platform, space, len(raw), at + len(names)))
        names += raw.ljust(space, b"\0")
    header = layout.build_header(
        size,
        block_bytes,
        at + len(names),
        parent_id=found.footer.unique_id,
        parent_time_stamp=layout.vhd_time(candidate.modified),
        parent_name=_parent_name(absolute),
        locators=tuple(locators),
    )
    footer = layout.build_footer(DIFFERENCING, size, unique_id=unique_id)
    _create_table_disk(path, footer, header + names + _empty_table(size, block_bytes))


def _parent(path: Path) -> Candidate:
    """The parent of new children; looked at once for thousands of them, as long as the file does not change."""
    try:
        real = path.resolve(strict=True)
        status = real.stat()
    except (OSError, RuntimeError):
        return look_at(path)
    return _unchanged(real, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


@lru_cache(maxsize=1)
def _unchanged(real: Path, version: tuple[int, ...]) -> Candidate:  # noqa: ARG001 - part of the key
    return look_at(real)


def _empty_table(size_bytes: int, block_bytes: int) -> bytes:
    """A BAT in which nothing is allocated, padded to whole sectors with ones as well."""
    entries = -(-size_bytes // block_bytes)
    return b"\xff" * (-(-4 * entries // SECTOR) * SECTOR)


def _create_table_disk(path: Path, footer: bytes, tables: bytes) -> None:
    with new_file(path) as fd:
        _write(fd, footer + tables + footer, 0)


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view, offset = view[count:], offset + count


def _windows(path: str, parent: Path) -> bytes:
    """The text of a locator: backslashes, a leading dot if relative, UTF-16 little endian, no NUL."""
    if "\\" in path:
        raise ImageError(
            f"{parent} can't be the parent of a VHD: the format has no way to write the backslash in its "
            "path. Rename it.",
            path=str(parent),
        )
    text = path if path.startswith(("/", "../")) else f"./{path}"
    try:
        return text.replace("/", "\\").encode("utf-16-le")
    except UnicodeEncodeError as error:
        raise ImageError(
            f"{parent} can't be the parent of a VHD: its path is no valid UTF-8, so no locator can hold it. Rename it.",
            path=str(parent),
        ) from error


def _parent_name(absolute: str) -> str:
    """The header's name field: the full path as Windows writes it, the bare name when that is too long."""
    full = absolute.replace("/", "\\")
    return full if len(full.encode("utf-16-be")) <= 2 * _NAME_UNITS_MAX else Path(absolute).name
