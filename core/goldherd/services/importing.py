"""How a disk file becomes a sealed version of an image.

Checked by the plugin that knows its format, copied (or adopted where it is), hashed, made read-only, and only
then recorded. A raw disk is stored as a fixed VHD, which is the same bytes with a footer behind them: a
differencing VHD needs a parent with an identity, and a raw file has none.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from goldherd.catalog import images as records
from goldherd.catalog.store import now
from goldherd.errors import About, CatalogError, ErrorKind, ImageError
from goldherd.model.images import CONTENT_HASH, ImageRef, OpenedImage, VersionRecord
from goldherd.model.names import check_image_name, parse_image_ref
from goldherd.model.options import FilterSpec, parse_filter
from goldherd.model.progress import Progress
from goldherd.services import requests
from goldherd.services.context import Services
from goldherd.services.images import get_version, in_the_way, is_text, list_versions, version_at, version_like
from goldherd.volumes import goldens, sealing
from goldherd.volumes.goldens import Hashes
from goldherd.volumes.store import Change, explained


class SealedOpener:
    """Opens parents for a plugin, and only such as this catalog has sealed.

    Implements goldherd.Opener. A parent that is a copy of a sealed version (same size, same headers
    and footer) is replaced by that version, so that a chain can be imported one file after the other.
    """

    def __init__(self, services: Services, parent: Path | None = None) -> None:
        self.parent = parent
        self.search: Sequence[Path] = (services.volumes.images,)
        self.first: VersionRecord | None = None
        """The leaf's own parent, once the plugin has asked for it."""
        self._services = services
        self._opened: list[OpenedImage] = []

    def known(self, identity: str) -> Path | None:
        """The newest sealed version of that identity, for a parent whose own file is gone."""
        for version in reversed(list_versions(self._services)):
            if not version.path.exists():
                continue
            if self._services.formats.identity(f"{version.format}:{version.path}") == identity:
                return version.path
        return None

    def open_parent(self, path: Path, format_name: str) -> OpenedImage:  # noqa: ARG002 - the catalog knows it
        """The sealed version at path, opened read-only."""
        version = version_like(self._services, path)
        if version is None:
            raise ImageError(
                f"{path} is the parent of this disk and not sealed in the catalog: import the parent first.",
                path=str(path),
                kind=ErrorKind.NOT_FOUND,
            )
        sealing.verify_sealed(version)
        parent = None
        if version.parent is not None:
            parent = get_version(self._services, parse_image_ref(version.parent)).path
        above = SealedOpener(self._services, parent)
        image = self._services.formats.open(f"{version.format}:{version.path}", "r", above)
        self._opened += [*above._opened, image]
        self.first = version
        return image

    def close(self) -> None:
        """Closes every parent, the nearest first."""
        while self._opened:
            self._opened.pop().close()


def import_image(
    services: Services,
    source: Path,
    name: str,
    *,
    format_name: str | None = None,
    in_place: bool = False,
    parent_ref: ImageRef | None = None,
    filters: Sequence[FilterSpec] = (),
    progress: Progress,
) -> VersionRecord:
    """Seals a file as the next version of image `name`; the first version becomes active.

    `parent_ref` names the version that a differencing disk is based on; None: the disk's own locators and its parent's
    unique id lead to it. `filters` lie over the disks of nodes on the version, the first nearest to the disk.

    Raises ImageError or CatalogError in one sentence; whatever goes wrong, nothing half-made stays.
    """
    format_name = format_name or services.formats.probe(source)
    kind = goldens.check_source(services.formats, source, format_name, in_place)
    golden = goldens.golden_format(services.formats, format_name)
    named = None if parent_ref is None else get_version(services, parent_ref).path
    with opened(services, source, format_name, named) as (image, opener):
        size_bytes, parent = image.size_bytes, opener.first
        if parent_ref is not None and parent is None:
            raise ImageError(
                f"{source} is no differencing disk, so it can't be based on {parent_ref}.", path=str(source)
            )
        services.formats.check_filters(image, filters)
        goldens.check_whole(source)
        draft = _Draft(name, golden, size_bytes, parent, tuple(map(str, filters)))
        with explained(source, "seal a copy"), services.changing() as change:
            if in_place:
                return _adopt(services, change, source, draft, progress)
            staged = goldens.staging_path(services.volumes, name)
            change.make([staged])
            prefix_bytes = goldens.stage(services.formats, source, kind, format_name, size_bytes, staged, progress)
            _check_copy(services, staged, golden, size_bytes, parent)
            sealing.protect(staged, progress)
            sealing.make_read_only(staged)
            hashes = goldens.hash_staged(staged, progress, prefix_bytes, source)
            return _record(services, change, staged, draft, hashes, in_place=False)


class _Draft(NamedTuple):
    """What a version is to be, before its file is ready."""

    image: str
    format: str
    size_bytes: int
    parent: VersionRecord | None
    filters: tuple[str, ...]


def _adopt(services: Services, change: Change, source: Path, draft: _Draft, progress: Progress) -> VersionRecord:
    path = source.resolve()
    known = version_at(services, path)
    if known is not None:
        raise CatalogError(
            f"{source} is sealed already, as {known.name}: use that, or import a copy.",
            kind=ErrorKind.EXISTS,
            about=(About("version", known.name), About("file", str(path))),
        )
    if not is_text(path):
        raise CatalogError(
            f"{str(path)!a} can't be sealed where it is: its path is not UTF-8 text, and its children must name it. "
            "Rename it, or import a copy.",
            kind=ErrorKind.INVALID,
        )
    change.keep_mode(path)
    sealing.make_read_only(path)
    hashes = goldens.hash_adopted(path, progress)
    return _record(services, change, path, draft, (hashes, hashes), in_place=True)


@contextmanager
def opened(
    services: Services, path: Path, format_name: str, parent: Path | None = None
) -> Iterator[tuple[OpenedImage, SealedOpener]]:
    """A disk image, open for reading over sealed parents, and the opener that knows which they are."""
    opener = SealedOpener(services, parent)
    try:
        image = services.formats.open(f"{format_name}:{path}", "r", opener)
        try:
            yield image, opener
        finally:
            image.close()
    finally:
        opener.close()


def _check_copy(services: Services, staged: Path, golden: str, size_bytes: int, parent: VersionRecord | None) -> None:
    with opened(services, staged, golden, None if parent is None else parent.path) as (image, _):
        if image.size_bytes != size_bytes:
            raise ImageError(
                f"The copy {staged} has {image.size_bytes} bytes where the disk has {size_bytes}: import "
                "it again, and report this if it stays so.",
                path=str(staged),
            )


def _record(
    services: Services,
    change: Change,
    file: Path,
    draft: _Draft,
    hashes: tuple[Hashes, Hashes],
    *,
    in_place: bool,
) -> VersionRecord:
    """Gives the finished file its number and name, in one transaction with its record."""
    seal = sealing.seal_of(file)
    with services.deciding(change.id) as connection:
        number = records.next_number(connection, draft.image)
        final = file if in_place else services.volumes.golden(draft.image, number, draft.format)
        if not in_place:
            if final.exists():
                raise in_the_way(final)
            change.make([final])
            goldens.name_staged(file, final)
        version = VersionRecord(
            image=draft.image,
            number=number,
            state="sealed" if records.has_versions(connection, draft.image) else "active",
            path=final,
            format=draft.format,
            size_bytes=draft.size_bytes,
            hash=hashes[0].chunked,
            hash_algorithm=CONTENT_HASH,
            source_hash=hashes[1].chunked,
            sha256=hashes[0].plain,
            source_sha256=hashes[1].plain,
            seal=seal,
            in_place=in_place,
            parent=None if draft.parent is None else draft.parent.name,
            created_at=now(),
            filters=draft.filters,
        )
        records.insert_version(connection, version, services.catalog.stored(final), draft.parent)
    return version


# --- the line of the table of operations ---


def import_(services: Services, request: requests.ImportImage, progress: Progress) -> VersionRecord:
    """image.import."""
    return import_image(
        services,
        Path(request.file),
        check_image_name(request.name),
        format_name=request.format,
        in_place=request.in_place,
        parent_ref=None if request.parent is None else parse_image_ref(request.parent),
        filters=[parse_filter(text) for text in request.filters],
        progress=progress,
    )
