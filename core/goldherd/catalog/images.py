"""Images and their versions: looking them up, choosing the active one, retiring and removing them.

How a file becomes a version stands in importing.py.
"""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, and_, delete, false, func, or_, select, update

from goldherd.catalog import leftovers, sealing
from goldherd.catalog.store import Catalog
from goldherd.catalog.tables import images, nodes, select_versions, to_version, versions
from goldherd.errors import CatalogError
from goldherd.model.images import ImageRef, State, Totals, VersionRecord
from goldherd.model.progress import Progress


def list_versions(catalog: Catalog, image: str | None = None) -> list[VersionRecord]:
    """All versions, or those of one image, by name and number."""
    query = select_versions().order_by(images.c.name, versions.c.number)
    if image is not None:
        query = query.where(images.c.name == image)
    with catalog.read() as connection:
        found = [to_version(row, catalog.data) for row in connection.execute(query).mappings()]
    if image is not None and not found:
        raise unknown_image(ImageRef(image, None))
    return found


def get_version(catalog: Catalog, ref: ImageRef) -> VersionRecord:
    """The version a reference means: the numbered one, or the active one when there is no number."""
    with catalog.read() as connection:
        return find_version(connection, catalog, ref)[1]


def find_version(connection: Connection, catalog: Catalog, ref: ImageRef) -> tuple[int, VersionRecord]:
    """Like get_version, inside a transaction; also gives the row's id."""
    query = select_versions().where(images.c.name == ref.image)
    query = query.where(versions.c.state == "active" if ref.number is None else versions.c.number == ref.number)
    row = connection.execute(query).mappings().first()
    if row is not None:
        return row["id"], to_version(row, catalog.data)
    known = connection.execute(select(images.c.id).where(images.c.name == ref.image)).first()
    if known is None or ref.number is not None:
        raise unknown_image(ref)
    raise CatalogError(
        f"The image {ref.image} has no active version: choose one with 'goldherd image activate {ref.image}@NUMBER'."
    )


def version_at(catalog: Catalog, path: Path) -> VersionRecord | None:
    """The sealed version that a file is, whatever name (link) it is reached by; None for any other file."""
    stored = (catalog.stored(path.absolute()), catalog.stored(path.resolve()))
    with catalog.read() as connection:
        row = connection.execute(select_versions().where(versions.c.path.in_(stored))).mappings().first()
        if row is not None:
            return to_version(row, catalog.data)
        if not path.exists():
            return None
        # A hard link has another name and the same size: few rows, so few files to look at.
        size = path.stat().st_size
        rows = connection.execute(select_versions().where(versions.c.file_bytes == size)).mappings().all()
    same = (to_version(row, catalog.data) for row in rows)
    return next((version for version in same if version.path.exists() and version.path.samefile(path)), None)


def version_like(catalog: Catalog, path: Path) -> VersionRecord | None:
    """The sealed version with this file's size and guard hash: the file itself or one it was copied to."""
    found = version_at(catalog, path)
    if found is not None:
        return found
    seal = sealing.seal_of(path)
    query = select_versions().where(and_(versions.c.file_bytes == seal.file_bytes, versions.c.guard == seal.guard))
    with catalog.read() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else to_version(row, catalog.data)


def activate(catalog: Catalog, ref: ImageRef) -> bool:
    """Makes a version what the next login of every following node gets; False when it is already."""
    with catalog.write() as connection:
        version_id, version = find_version(connection, catalog, ref)
        if version.state == "active":
            return False
        sealing.verify_sealed(version)
        image_id = _image_id(connection, ref.image)
        _set_state(connection, and_(versions.c.image_id == image_id, versions.c.state == "active"), "sealed")
        _set_state(connection, versions.c.id == version_id, "active")
        return True


def retire(catalog: Catalog, ref: ImageRef) -> bool:
    """Takes a version out of use; its file stays. False when it is retired already."""
    with catalog.write() as connection:
        version_id, version = find_version(connection, catalog, ref)
        if version.state == "retired":
            return False
        _refuse_if_used(connection, version_id, version, "retired")
        _set_state(connection, versions.c.id == version_id, "retired")
        return True


def remove(catalog: Catalog, ref: ImageRef) -> tuple[list[VersionRecord], int]:
    """Forgets a version, or all of an image's when the reference has no number, with overlays made on them.

    Files that were adopted in place stay where they are. Gives the versions and the number of overlays
    removed.
    """
    targets = [get_version(catalog, ref)] if ref.number is not None else list_versions(catalog, ref.image)
    doomed = [version.path for version in targets if not version.in_place]
    overlays = [path for version in targets for path in catalog.overlays.glob(f"*.{version.name}.vhd")]
    with leftovers.change(catalog, [*doomed, *overlays]), catalog.write() as connection:
        # The newest first: a child goes before the parent it was imported on.
        for version in sorted(targets, key=lambda version: -version.number):
            version_id, _ = find_version(connection, catalog, ImageRef(version.image, version.number))
            _refuse_if_used(connection, version_id, version, "removed")
            _refuse_if_parent(connection, version_id, version)
            connection.execute(delete(versions).where(versions.c.id == version_id))
        image_id = _image_id(connection, ref.image)
        if not connection.scalar(select(func.count()).where(versions.c.image_id == image_id)):
            _refuse_if_followed(connection, image_id, ref.image)
            connection.execute(delete(images).where(images.c.id == image_id))
    return targets, len(overlays)


def verify(catalog: Catalog, ref: ImageRef, progress: Progress) -> tuple[VersionRecord, bool]:
    """Reads a version's file whole and compares it with its SHA-256; ImageError when it differs.

    When only the file's times had changed (a restored backup), the seal is renewed; the second value says so.
    """
    version = get_version(catalog, ref)
    seal = sealing.verify_content(version, progress)
    if seal == version.seal:
        return version, False
    with catalog.write() as connection:
        version_id, _ = find_version(connection, catalog, ImageRef(version.image, version.number))
        values = {"file_bytes": seal.file_bytes, "mtime_ns": seal.mtime_ns, "guard": seal.guard}
        connection.execute(update(versions).where(versions.c.id == version_id).values(**values))
    return version, True


def totals(catalog: Catalog) -> Totals:
    """The catalog in numbers, for `status`."""
    with catalog.read() as connection:
        return Totals(
            images=connection.scalar(select(func.count()).select_from(images)) or 0,
            versions=connection.scalar(select(func.count()).select_from(versions)) or 0,
            nodes=connection.scalar(select(func.count()).select_from(nodes)) or 0,
            golden_bytes=connection.scalar(select(func.sum(versions.c.file_bytes))) or 0,
        )


def unknown_image(ref: ImageRef) -> CatalogError:
    """The refusal for a name that is not in the catalog."""
    what = "image" if ref.number is None else "version"
    return CatalogError(f"There is no {what} {ref}: 'goldherd image list' shows what there is.")


def _image_id(connection: Connection, name: str) -> int:
    return int(connection.execute(select(images.c.id).where(images.c.name == name)).scalar_one())


def _set_state(connection: Connection, which: object, state: State) -> None:
    connection.execute(update(versions).where(which).values(state=state))  # type: ignore[arg-type]


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _refuse_if_used(connection: Connection, version_id: int, version: VersionRecord, doing: str) -> None:
    follows = and_(nodes.c.version_id.is_(None), nodes.c.image_id == _image_id(connection, version.image))
    users = or_(nodes.c.version_id == version_id, follows if version.state == "active" else false())
    names = connection.execute(select(nodes.c.name).where(users).order_by(nodes.c.name)).scalars().all()
    if names:
        raise CatalogError(
            f"{version.name} is not {doing}: it is the disk of {_named(names)}; activate another version, or "
            "remove the nodes or set them to another image first."
        )


def _refuse_if_parent(connection: Connection, version_id: int, version: VersionRecord) -> None:
    query = select_versions().where(versions.c.parent_id == version_id)
    child = connection.execute(query).mappings().first()
    if child is not None:
        raise CatalogError(
            f"{version.name} is not removed: {child['image']}@{child['number']} is a differencing child of "
            "it; remove that first."
        )


def _refuse_if_followed(connection: Connection, image_id: int, image: str) -> None:
    names = connection.execute(select(nodes.c.name).where(nodes.c.image_id == image_id)).scalars().all()
    if names:
        raise CatalogError(
            f"{image} is not removed: it is the image of {_named(sorted(names))}; remove the nodes or set "
            "them to another image first."
        )
