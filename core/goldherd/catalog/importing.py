"""How a disk file becomes a sealed version of an image.

Checked by the plugin that knows its format, copied (or adopted where it is), hashed, made read-only, and only
then recorded. A raw disk is stored as a fixed VHD, which is the same bytes with a footer behind them: a
differencing VHD needs a parent with an identity, and a raw file has none.
"""

import os
import secrets as randomness
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, insert, select, update

from goldherd.catalog import images as image_room
from goldherd.catalog import leftovers, sealing
from goldherd.catalog.store import Catalog, explained, now, sync_folder
from goldherd.catalog.tables import images, versions
from goldherd.errors import CatalogError, ImageError
from goldherd.files.copying import copy_bytes, hash_file, length_of
from goldherd.limits import READ_CHUNK_BYTES
from goldherd.model.images import Formats, ImageRef, OpenedImage, VersionRecord
from goldherd.model.progress import Progress

GOLDEN_FORMAT: Final = "vhd"
"""The format that may be a parent of differencing children."""
FIXED_FORMAT: Final = "vhd-fixed"
"""The create hook's name for a fixed VHD: the disk's bytes from the file's start on, then a footer."""
PLAIN_FORMATS: Final = ("raw", "sparse")
"""Formats whose file is the disk, byte for byte."""


class SealedOpener:
    """Opens parents for a plugin, and only such as this catalog has sealed.

    Implements goldherd.hookspecs.Opener. A parent that is a copy of a sealed version (same size, same headers
    and footer) is replaced by that version, so that a chain can be imported one file after the other.
    """

    def __init__(self, catalog: Catalog, formats: Formats, parent: Path | None = None) -> None:
        self.parent = parent
        self.search: Sequence[Path] = (catalog.images,)
        self.chs_size = False
        self.longer_child = False
        self.first: VersionRecord | None = None
        """The leaf's own parent, once the plugin has asked for it."""
        self._catalog = catalog
        self._formats = formats
        self._opened: list[OpenedImage] = []

    def open_parent(self, path: Path, format_name: str) -> OpenedImage:  # noqa: ARG002 - the catalog knows it
        """The sealed version at path, opened read-only."""
        version = image_room.version_like(self._catalog, path)
        if version is None:
            raise ImageError(
                f"{path} is the parent of this disk and not sealed in the catalog: import the parent first.",
                path=str(path),
            )
        sealing.verify_sealed(version)
        above = SealedOpener(self._catalog, self._formats, _path_of(self._catalog, version.parent))
        image = self._formats.open(f"{version.format}:{version.path}", "r", above)
        self._opened += [*above._opened, image]
        self.first = version
        return image

    def close(self) -> None:
        """Closes every parent, the nearest first."""
        while self._opened:
            self._opened.pop().close()


def import_image(
    catalog: Catalog,
    formats: Formats,
    source: Path,
    name: str,
    *,
    format_name: str | None = None,
    in_place: bool = False,
    progress: Progress,
) -> VersionRecord:
    """Seals a file as the next version of image `name`; the first version becomes active.

    Raises ImageError or CatalogError in one sentence; whatever goes wrong, nothing half-made stays.
    """
    format_name = format_name or formats.probe(source)
    kind = _check_source(source, format_name, in_place)
    with _opened(catalog, formats, source, format_name) as (image, opener):
        size_bytes, parent = image.size_bytes, opener.first
        with explained(source, "seal a copy"), leftovers.change(catalog) as change:
            if in_place:
                before = source.stat()
                sealing.make_read_only(source)
                try:
                    return _adopt(catalog, change, source, name, size_bytes, parent, progress)
                except BaseException:
                    source.chmod(stat.S_IMODE(before.st_mode))
                    raise
            staged = catalog.images / f".{name}.{randomness.token_hex(8)}.part"
            change.add([staged])
            prefix_bytes = size_bytes if format_name in PLAIN_FORMATS else None
            if prefix_bytes is not None:
                formats.create(f"{FIXED_FORMAT}:{staged}", size_bytes, None)
            _copy(source, staged, kind, prefix_bytes, progress)
            _check_copy(catalog, formats, staged, size_bytes, parent)
            sealing.make_read_only(staged)
            hashes = hash_file(staged, progress, prefix_bytes)
            return _record(catalog, change, staged, name, size_bytes, parent, hashes, in_place=False)


def _adopt(
    catalog: Catalog,
    change: leftovers.Change,
    source: Path,
    name: str,
    size_bytes: int,
    parent: VersionRecord | None,
    progress: Progress,
) -> VersionRecord:
    path = source.resolve()
    known = image_room.version_at(catalog, path)
    if known is not None:
        raise CatalogError(f"{source} is sealed already, as {known.name}: use that, or import a copy.")
    before = path.stat()
    hashes = hash_file(path, progress)
    _refuse_if_changed(source, before, path.stat())
    return _record(catalog, change, path, name, size_bytes, parent, hashes, in_place=True)


def _check_source(source: Path, format_name: str, in_place: bool) -> int:
    """The file's kind (S_IFREG or S_IFBLK), once it is clear that it can be imported this way."""
    with explained(source, "seal a copy"):
        kind = stat.S_IFMT(source.stat().st_mode)
    if kind not in (stat.S_IFREG, stat.S_IFBLK):
        raise ImageError(f"{source} is neither a file nor a disk: name a disk image.", path=str(source))
    if format_name in PLAIN_FORMATS:
        if in_place:
            raise ImageError(
                f"{source} is a {format_name} disk, which can't be a parent as it is: leave out "
                "--in-place, and a copy with a VHD footer is made.",
                path=str(source),
            )
    elif format_name != GOLDEN_FORMAT:
        raise ImageError(
            f"{source} is of the format {format_name}, which can't be the parent of differencing VHDs: "
            "convert it to a raw disk or to VHD and import that.",
            path=str(source),
        )
    if in_place and kind != stat.S_IFREG:
        raise ImageError(
            f"{source} is a device and can't be sealed where it is: leave out --in-place.", path=str(source)
        )
    return kind


@contextmanager
def _opened(
    catalog: Catalog, formats: Formats, path: Path, format_name: str, parent: Path | None = None
) -> Iterator[tuple[OpenedImage, SealedOpener]]:
    opener = SealedOpener(catalog, formats, parent)
    try:
        image = formats.open(f"{format_name}:{path}", "r", opener)
        try:
            yield image, opener
        finally:
            image.close()
    finally:
        opener.close()


def _copy(source: Path, staged: Path, kind: int, disk_bytes: int | None, progress: Progress) -> None:
    """Fills the staged file: the disk's bytes into a prepared container, or the whole file into a new one."""
    flags = os.O_RDWR | os.O_CLOEXEC | (0 if disk_bytes is not None else os.O_CREAT | os.O_EXCL)
    from_file = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        before = os.fstat(from_file)
        length = length_of(from_file) if disk_bytes is None else disk_bytes
        to_file = os.open(staged, flags, 0o600)
        try:
            # What stands behind the disk's bytes in a prepared container is kept; the space set aside for
            # them is given back, because a sealed file is never written and may keep its holes.
            behind = os.pread(to_file, READ_CHUNK_BYTES, length)
            os.ftruncate(to_file, 0)
            os.ftruncate(to_file, length)
            copy_bytes(from_file, to_file, length, progress)
            os.pwrite(to_file, behind, length)
            os.fsync(to_file)
        finally:
            os.close(to_file)
        if kind == stat.S_IFREG:
            _refuse_if_changed(source, before, os.fstat(from_file))
    finally:
        os.close(from_file)


def _refuse_if_changed(source: Path, before: os.stat_result, after: os.stat_result) -> None:
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageError(
            f"{source} was written to while it was imported: stop what uses the disk and import it again.",
            path=str(source),
        )


def _check_copy(
    catalog: Catalog, formats: Formats, staged: Path, size_bytes: int, parent: VersionRecord | None
) -> None:
    with _opened(catalog, formats, staged, GOLDEN_FORMAT, None if parent is None else parent.path) as (
        image,
        _,
    ):
        if image.size_bytes != size_bytes:
            raise ImageError(
                f"The copy {staged} has {image.size_bytes} bytes where the disk has {size_bytes}: import "
                "it again, and report this if it stays so.",
                path=str(staged),
            )


def _record(
    catalog: Catalog,
    change: leftovers.Change,
    file: Path,
    name: str,
    size_bytes: int,
    parent: VersionRecord | None,
    hashes: tuple[str, str],
    *,
    in_place: bool,
) -> VersionRecord:
    """Gives the finished file its number and name, in one transaction with its record."""
    seal = sealing.seal_of(file)
    with catalog.write() as connection:
        image_id, number = _next_number(connection, name)
        final = file if in_place else catalog.images / f"{name}@{number}.{GOLDEN_FORMAT}"
        if not in_place:
            if final.exists():
                raise CatalogError(f"{final} is in the way: the catalog does not know this file, so move it away.")
            change.add([final])
            file.rename(final)
            sync_folder(catalog.images)
        alone = not connection.scalar(select(func.count()).where(versions.c.image_id == image_id))
        connection.execute(
            insert(versions).values(
                image_id=image_id,
                number=number,
                state="active" if alone else "sealed",
                path=catalog.stored(final),
                format=GOLDEN_FORMAT,
                size_bytes=size_bytes,
                sha256=hashes[0],
                source_sha256=hashes[1],
                file_bytes=seal.file_bytes,
                mtime_ns=seal.mtime_ns,
                guard=seal.guard,
                in_place=int(in_place),
                parent_id=_version_id(connection, catalog, parent),
                created_at=now(),
            )
        )
        return image_room.find_version(connection, catalog, ImageRef(name, number))[1]


def _next_number(connection: Connection, name: str) -> tuple[int, int]:
    """The image's id and its next number; a number is never given twice, even after a removal."""
    row = connection.execute(select(images.c.id, images.c.next_number).where(images.c.name == name)).first()
    if row is None:
        values = {"name": name, "next_number": 1, "created_at": now()}
        row = connection.execute(insert(images).values(**values).returning(images.c.id, images.c.next_number)).one()
    image_id, number = row
    connection.execute(update(images).where(images.c.id == image_id).values(next_number=number + 1))
    return image_id, number


def _version_id(connection: Connection, catalog: Catalog, version: VersionRecord | None) -> int | None:
    if version is None:
        return None
    return image_room.find_version(connection, catalog, ImageRef(version.image, version.number))[0]


def _path_of(catalog: Catalog, name: str | None) -> Path | None:
    if name is None:
        return None
    image, _, number = name.partition("@")
    return image_room.get_version(catalog, ImageRef(image, int(number))).path
