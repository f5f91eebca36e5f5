"""Images and their versions: looking them up, choosing the active one, retiring and removing them.

How a file becomes a version stands in importing.py.
"""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection

from goldherd.catalog import images as records
from goldherd.errors import CatalogError
from goldherd.model.images import ImageRef, Totals, VersionRecord
from goldherd.model.progress import Progress
from goldherd.services.context import Services
from goldherd.volumes import overlays, sealing


def list_versions(services: Services, image: str | None = None) -> list[VersionRecord]:
    """All versions, or those of one image, by name and number; CatalogError when there is no such image."""
    with services.catalog.read() as connection:
        found = records.list_versions(connection, services.data, image)
    if image is not None and not found:
        raise unknown_image(ImageRef(image, None))
    return found


def get_version(services: Services, ref: ImageRef) -> VersionRecord:
    """The version a reference means: the numbered one, or the active one when there is no number."""
    with services.catalog.read() as connection:
        return find_version(connection, services, ref)


def find_version(connection: Connection, services: Services, ref: ImageRef) -> VersionRecord:
    """Like get_version, inside a transaction."""
    version = records.find_version(connection, services.data, ref)
    if version is not None:
        return version
    if ref.number is not None or not records.has_image(connection, ref.image):
        raise unknown_image(ref)
    raise CatalogError(
        f"The image {ref.image} has no active version: choose one with 'goldherd image activate {ref.image}@NUMBER'."
    )


def version_at(services: Services, path: Path) -> VersionRecord | None:
    """The sealed version that a file is, whatever name (link) it is reached by; None for any other file."""
    stored = (services.catalog.stored(path.absolute()), services.catalog.stored(path.resolve()))
    with services.catalog.read() as connection:
        version = records.version_stored_as(connection, services.data, stored)
        if version is not None or not path.exists():
            return version
        # A hard link has another name and the same size: few rows, so few files to look at.
        same = records.versions_of_length(connection, services.data, path.stat().st_size)
    return next((version for version in same if version.path.exists() and version.path.samefile(path)), None)


def version_like(services: Services, path: Path) -> VersionRecord | None:
    """The sealed version with this file's size and guard hash: the file itself or one it was copied to."""
    found = version_at(services, path)
    if found is not None:
        return found
    seal = sealing.seal_of(path)
    with services.catalog.read() as connection:
        return records.version_sealed_as(connection, services.data, seal)


def sealed_version_at(services: Services, path: Path) -> VersionRecord | None:
    """Like version_at, once the file was found unchanged; ImageError when it was changed since it was sealed."""
    version = version_at(services, path)
    if version is not None:
        sealing.verify_sealed(version)
    return version


def is_write_protected(path: Path) -> bool:
    """Whether nobody has permission to write the file; goldherd then writes it not even as root."""
    return sealing.is_write_protected(path)


def activate(services: Services, ref: ImageRef) -> bool:
    """Makes a version what the next login of every following node gets; False when it is already."""
    with services.catalog.write() as connection:
        version = find_version(connection, services, ref)
        if version.state == "active":
            return False
        sealing.verify_sealed(version)
        records.activate(connection, version)
        return True


def retire(services: Services, ref: ImageRef) -> bool:
    """Takes a version out of use; its file stays. False when it is retired already."""
    with services.catalog.write() as connection:
        version = find_version(connection, services, ref)
        if version.state == "retired":
            return False
        _refuse_if_used(connection, version, "retired")
        records.set_state(connection, version, "retired")
        return True


def remove(services: Services, ref: ImageRef) -> tuple[list[VersionRecord], int]:
    """Forgets a version, or all of an image's when the reference has no number, with overlays made on them.

    Files that were adopted in place stay where they are. Gives the versions and the number of overlays
    removed.
    """
    targets = [get_version(services, ref)] if ref.number is not None else list_versions(services, ref.image)
    doomed = [version.path for version in targets if not version.in_place]
    children = [path for version in targets for path in overlays.overlays_on(services.volumes, version.name)]
    with services.volumes.journal.change() as change:
        change.remove([*doomed, *children])
        with services.deciding(change.id) as connection:
            # The newest first: a child goes before the parent it was imported on.
            for version in sorted(targets, key=lambda version: -version.number):
                current = find_version(connection, services, version.ref)
                _refuse_if_used(connection, current, "removed")
                _refuse_if_parent(connection, current)
                records.delete_version(connection, current)
            if not records.has_versions(connection, ref.image):
                _refuse_if_followed(connection, ref.image)
                records.delete_image(connection, ref.image)
    return targets, len(children)


def verify(services: Services, ref: ImageRef, progress: Progress) -> tuple[VersionRecord, bool]:
    """Reads a version's file whole and compares it with its SHA-256; ImageError when it differs.

    When only the file's times had changed (a restored backup), the seal is renewed; the second value says so.
    """
    version = get_version(services, ref)
    seal = sealing.verify_content(version, progress)
    if seal == version.seal:
        return version, False
    with services.catalog.write() as connection:
        records.set_seal(connection, find_version(connection, services, version.ref), seal)
    return version, True


def totals(services: Services) -> Totals:
    """The catalog in numbers, for `status`."""
    with services.catalog.read() as connection:
        return records.totals(connection)


def unknown_image(ref: ImageRef) -> CatalogError:
    """The refusal for a name that is not in the catalog."""
    what = "image" if ref.number is None else "version"
    return CatalogError(f"There is no {what} {ref}: 'goldherd image list' shows what there is.")


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _refuse_if_used(connection: Connection, version: VersionRecord, doing: str) -> None:
    names = records.users_of(connection, version)
    if names:
        raise CatalogError(
            f"{version.name} is not {doing}: it is the disk of {_named(names)}; activate another version, or "
            "remove the nodes or set them to another image first."
        )


def _refuse_if_parent(connection: Connection, version: VersionRecord) -> None:
    children = records.children_of(connection, version)
    if children:
        raise CatalogError(
            f"{version.name} is not removed: {children[0]} is a differencing child of it; remove that first."
        )


def _refuse_if_followed(connection: Connection, image: str) -> None:
    names = records.nodes_of_image(connection, image)
    if names:
        raise CatalogError(
            f"{image} is not removed: it is the image of {_named(names)}; remove the nodes or set "
            "them to another image first."
        )
