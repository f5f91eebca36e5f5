"""Queries about images and their versions, each a function on a connection."""

import json
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, and_, delete, false, func, insert, or_, select, update

from goldherd.catalog.store import now
from goldherd.catalog.tables import images, nodes, select_versions, to_version, versions
from goldherd.model.images import ImageRef, Outcome, Seal, State, Totals, VersionRecord


def list_versions(connection: Connection, data: Path, image: str | None = None) -> list[VersionRecord]:
    """All versions, or those of one image, by name and number."""
    query = select_versions().order_by(images.c.name, versions.c.number)
    if image is not None:
        query = query.where(images.c.name == image)
    return [to_version(row, data) for row in connection.execute(query).mappings()]


def find_version(connection: Connection, data: Path, ref: ImageRef) -> VersionRecord | None:
    """The version a reference means: the numbered one, or the active one when there is no number."""
    query = select_versions().where(images.c.name == ref.image)
    query = query.where(versions.c.state == "active" if ref.number is None else versions.c.number == ref.number)
    row = connection.execute(query).mappings().first()
    return None if row is None else to_version(row, data)


def has_image(connection: Connection, name: str) -> bool:
    """Whether there is an image of that name."""
    return connection.execute(select(images.c.id).where(images.c.name == name)).first() is not None


def version_stored_as(connection: Connection, data: Path, paths: Sequence[str]) -> VersionRecord | None:
    """The version whose file has one of these paths, as the catalog keeps them."""
    row = connection.execute(select_versions().where(versions.c.path.in_(paths))).mappings().first()
    return None if row is None else to_version(row, data)


def versions_of_length(connection: Connection, data: Path, file_bytes: int) -> list[VersionRecord]:
    """The versions whose files have that length."""
    rows = connection.execute(select_versions().where(versions.c.file_bytes == file_bytes)).mappings()
    return [to_version(row, data) for row in rows]


def version_sealed_as(connection: Connection, data: Path, seal: Seal) -> VersionRecord | None:
    """A version whose file has the length and the guard hash of that seal."""
    query = select_versions().where(and_(versions.c.file_bytes == seal.file_bytes, versions.c.guard == seal.guard))
    row = connection.execute(query).mappings().first()
    return None if row is None else to_version(row, data)


def users_of(connection: Connection, version: VersionRecord) -> list[str]:
    """The nodes whose next login gets this version, by name."""
    follows = and_(nodes.c.version_id.is_(None), nodes.c.image_id == _image_id(connection, version.image))
    users = or_(
        nodes.c.version_id == version_id(connection, version), follows if version.state == "active" else false()
    )
    return list(connection.execute(select(nodes.c.name).where(users).order_by(nodes.c.name)).scalars())


def nodes_of_image(connection: Connection, image: str) -> list[str]:
    """The nodes that have an image, whatever its version, by name."""
    query = select(nodes.c.name).where(nodes.c.image_id == _image_id(connection, image)).order_by(nodes.c.name)
    return list(connection.execute(query).scalars())


def children_of(connection: Connection, version: VersionRecord) -> list[str]:
    """The versions that are differencing children of this one, as `name@number`."""
    query = select_versions().where(versions.c.parent_id == version_id(connection, version))
    return [f"{row['image']}@{row['number']}" for row in connection.execute(query).mappings()]


def activate(connection: Connection, version: VersionRecord) -> None:
    """Makes a version its image's only active one."""
    image_id = _image_id(connection, version.image)
    active = and_(versions.c.image_id == image_id, versions.c.state == "active")
    connection.execute(update(versions).where(active).values(state="sealed"))
    set_state(connection, version, "active")


def set_state(connection: Connection, version: VersionRecord, state: State) -> None:
    """Notes a version's new state."""
    _set(connection, version, state=state)


def set_seal(connection: Connection, version: VersionRecord, seal: Seal) -> None:
    """Notes what a version's file looks like now."""
    _set(connection, version, **_seal_columns(seal))


def note_changed(connection: Connection, version: VersionRecord, how: str) -> None:
    """Notes that a version's file was found changed; the first change found stays until the file is right again."""
    first = and_(versions.c.id == version_id(connection, version), versions.c.changed.is_(None))
    values = {"changed": how, "changed_at": now(), "times_changed": versions.c.times_changed + 1}
    connection.execute(update(versions).where(first).values(**values))


def note_verified(connection: Connection, version: VersionRecord, outcome: Outcome) -> None:
    """Notes what a look at every byte of a version's file found; one that is right is not changed any more."""
    right: dict[str, None] = {"changed": None, "changed_at": None} if outcome == "right" else {}
    _set(connection, version, verified_at=now(), outcome=outcome, **right)


def next_number(connection: Connection, image: str) -> int:
    """Takes an image's next number, making the image when it is new; none is given twice, even after a removal."""
    row = connection.execute(select(images.c.id, images.c.next_number).where(images.c.name == image)).first()
    if row is None:
        values = {"name": image, "next_number": 1, "created_at": now()}
        row = connection.execute(insert(images).values(**values).returning(images.c.id, images.c.next_number)).one()
    image_id, number = row
    connection.execute(update(images).where(images.c.id == image_id).values(next_number=number + 1))
    return int(number)


def take_number(connection: Connection, image: str, number: int) -> None:
    """Notes that an image's number is given, making the image when it is new; the next one is above it."""
    if not has_image(connection, image):
        connection.execute(insert(images).values(name=image, next_number=1, created_at=now()))
    after = func.max(images.c.next_number, number + 1)
    connection.execute(update(images).where(images.c.name == image).values(next_number=after))


def insert_version(connection: Connection, version: VersionRecord, stored: str, parent: VersionRecord | None) -> None:
    """Writes a new version; `stored` is its file's path as the catalog keeps it."""
    connection.execute(
        insert(versions).values(
            image_id=_image_id(connection, version.image),
            number=version.number,
            state=version.state,
            path=stored,
            format=version.format,
            size_bytes=version.size_bytes,
            hash=version.hash,
            hash_algorithm=version.hash_algorithm,
            source_hash=version.source_hash,
            sha256=version.sha256,
            source_sha256=version.source_sha256,
            **_seal_columns(version.seal),
            in_place=int(version.in_place),
            parent_id=None if parent is None else version_id(connection, parent),
            created_at=version.created_at,
            filters=json.dumps(version.filters),
        )
    )


def has_versions(connection: Connection, image: str) -> bool:
    """Whether an image has any version now."""
    query = select(func.count()).where(versions.c.image_id == _image_id(connection, image))
    return bool(connection.scalar(query))


def delete_version(connection: Connection, version: VersionRecord) -> None:
    """Forgets a version."""
    connection.execute(delete(versions).where(versions.c.id == version_id(connection, version)))


def delete_image(connection: Connection, image: str) -> None:
    """Forgets an image that has no versions."""
    connection.execute(delete(images).where(images.c.id == _image_id(connection, image)))


def totals(connection: Connection) -> Totals:
    """The catalog in numbers."""
    return Totals(
        images=connection.scalar(select(func.count()).select_from(images)) or 0,
        versions=connection.scalar(select(func.count()).select_from(versions)) or 0,
        nodes=connection.scalar(select(func.count()).select_from(nodes)) or 0,
        golden_bytes=connection.scalar(select(func.sum(versions.c.file_bytes))) or 0,
    )


def version_id(connection: Connection, version: VersionRecord) -> int:
    """The key of a version's row."""
    query = select(versions.c.id).where(
        and_(versions.c.image_id == _image_id(connection, version.image), versions.c.number == version.number)
    )
    return int(connection.execute(query).scalar_one())


def _seal_columns(seal: Seal) -> dict[str, int | str | None]:
    return {
        "file_bytes": seal.file_bytes,
        "mtime_ns": seal.mtime_ns,
        "guard": seal.guard,
        "verity": seal.verity,
    }


def _set(connection: Connection, version: VersionRecord, **values: int | str | None) -> None:
    connection.execute(update(versions).where(versions.c.id == version_id(connection, version)).values(**values))


def _image_id(connection: Connection, name: str) -> int:
    return int(connection.execute(select(images.c.id).where(images.c.name == name)).scalar_one())
