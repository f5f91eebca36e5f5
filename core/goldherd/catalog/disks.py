"""Which nodes have had a disk on which version: a disk that was there once is never made anew in silence."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, and_, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert

from goldherd.catalog.images import version_id
from goldherd.catalog.tables import disks, images, nodes, versions
from goldherd.model.images import VersionRecord


def note(connection: Connection, names: Sequence[str], version: VersionRecord) -> None:
    """Notes that these nodes have a disk on a version."""
    note_each(connection, [(name, version.image, version.number) for name in names])


def note_each(connection: Connection, made: Collection[tuple[str, str, int]]) -> None:
    """Notes disks given as (node, image, number); what is not in the catalog any more is left out."""
    found = (
        select(nodes.c.id, versions.c.id)
        .select_from(nodes)
        .join(images, images.c.name == bindparam("image"))
        .join(versions, and_(versions.c.image_id == images.c.id, versions.c.number == bindparam("number")))
        .where(nodes.c.name == bindparam("node"))
    )
    statement = insert(disks).from_select(["node_id", "version_id"], found).on_conflict_do_nothing()
    if made:
        connection.execute(statement, [{"node": n, "image": i, "number": v} for n, i, v in made])


def owners(connection: Connection, version: VersionRecord) -> set[str]:
    """The names of the nodes that have had a disk on a version."""
    query = select(nodes.c.name).join(disks, disks.c.node_id == nodes.c.id)
    return set(connection.execute(query.where(disks.c.version_id == version_id(connection, version))).scalars())


def all_noted(connection: Connection) -> set[tuple[str, str, int]]:
    """All of them, as (node, image, number)."""
    query = (
        select(nodes.c.name, images.c.name, versions.c.number)
        .join(disks, disks.c.node_id == nodes.c.id)
        .join(versions, versions.c.id == disks.c.version_id)
        .join(images, images.c.id == versions.c.image_id)
    )
    return {(node, image, number) for node, image, number in connection.execute(query)}


def forget(connection: Connection, names: Sequence[str]) -> None:
    """Forgets all disks of nodes."""
    node = select(nodes.c.id).where(nodes.c.name == bindparam("node")).scalar_subquery()
    if names:
        connection.execute(delete(disks).where(disks.c.node_id == node), [{"node": name} for name in names])
