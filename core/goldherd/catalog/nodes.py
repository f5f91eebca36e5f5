"""Queries about nodes, their network cards and access rules, each a function on a connection."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, insert, or_, select, update

from goldherd.catalog.images import version_id
from goldherd.catalog.store import now
from goldherd.catalog.tables import StoredNode, images, macs, nodes, rules, select_nodes, to_node
from goldherd.model.images import VersionRecord
from goldherd.model.nodes import ANY_INITIATOR, Policy


def list_nodes(connection: Connection, data: Path) -> list[StoredNode]:
    """All nodes."""
    return [to_node(row, data) for row in connection.execute(select_nodes()).mappings()]


def find_node(connection: Connection, data: Path, name: str) -> StoredNode | None:
    """The node of that name."""
    row = connection.execute(select_nodes().where(nodes.c.name == name)).mappings().first()
    return None if row is None else to_node(row, data)


def perhaps_admitting(connection: Connection, data: Path, initiator: str) -> list[StoredNode]:
    """The nodes that may admit an initiator: those that name it or everybody, and all that have a rule by place."""
    mine = and_(rules.c.kind == "initiator", rules.c.value.in_((initiator, ANY_INITIATOR)))
    # Rules by place are judged one by one; by name the database knows the few among thousands.
    perhaps = select(rules.c.node_id).where(or_(mine, rules.c.kind != "initiator"))
    query = select_nodes().where(nodes.c.id.in_(perhaps)).order_by(nodes.c.name)
    return [to_node(row, data) for row in connection.execute(query).mappings()]


def note_seen(connection: Connection, node: str, at: str, address: str) -> None:
    """Notes when and from where a node logged in."""
    connection.execute(update(nodes).where(nodes.c.name == node).values(seen_at=at, seen_address=address))


def insert_nodes(
    connection: Connection,
    version: VersionRecord,
    rules_of: Mapping[str, Sequence[str]],
    *,
    pinned: bool,
    policy: Policy,
    chap_user: str | None,
) -> None:
    """Writes new nodes: their names, each with its access rules as text."""
    common = {
        **_image_columns(connection, version, pinned),
        "policy": policy,
        "chap_user": chap_user,
        "created_at": now(),
    }
    connection.execute(insert(nodes), [{"name": name, **common} for name in rules_of])
    _insert_rules(connection, rules_of)


def set_image(connection: Connection, names: Sequence[str], version: VersionRecord, *, pinned: bool) -> None:
    """Gives nodes another image: pinned to that version, or following the active one."""
    _update(connection, names, **_image_columns(connection, version, pinned))


def set_policy(connection: Connection, names: Sequence[str], policy: Policy) -> None:
    """Notes what becomes of the nodes' disks at their next boot."""
    _update(connection, names, policy=policy)


def set_chap_user(connection: Connection, names: Sequence[str], user: str | None) -> None:
    """Notes the CHAP user name of nodes; None asks for no CHAP."""
    _update(connection, names, chap_user=user)


def set_rules(connection: Connection, names: Sequence[str], texts: Sequence[str]) -> None:
    """Replaces the access rules of nodes."""
    ids = _ids(connection)
    connection.execute(delete(rules).where(rules.c.node_id == bindparam("node")), [{"node": ids[n]} for n in names])
    _insert_rules(connection, dict.fromkeys(names, texts))


def set_macs(connection: Connection, node: str, addresses: Sequence[str]) -> None:
    """Replaces a node's network cards."""
    node_id = connection.execute(select(nodes.c.id).where(nodes.c.name == node)).scalar_one()
    connection.execute(delete(macs).where(macs.c.node_id == node_id))
    for mac in sorted(set(addresses)):
        connection.execute(insert(macs).values(mac=mac, node_id=node_id))


def owners_of(connection: Connection, addresses: Sequence[str]) -> dict[str, str]:
    """MAC address to the node that has it, for those that a node has."""
    query = select(macs.c.mac, nodes.c.name).join(nodes, nodes.c.id == macs.c.node_id)
    return {row.mac: row.name for row in connection.execute(query.where(macs.c.mac.in_(addresses)))}


def delete_nodes(connection: Connection, names: Sequence[str]) -> None:
    """Forgets nodes with their cards and rules."""
    if names:
        connection.execute(delete(nodes).where(nodes.c.name == bindparam("doomed")), [{"doomed": n} for n in names])


def _image_columns(connection: Connection, version: VersionRecord, pinned: bool) -> dict[str, int | None]:
    image_id = connection.execute(select(images.c.id).where(images.c.name == version.image)).scalar_one()
    return {"image_id": int(image_id), "version_id": version_id(connection, version) if pinned else None}


def _update(connection: Connection, names: Sequence[str], **values: object) -> None:
    query = update(nodes).where(nodes.c.name == bindparam("node")).values(**values)
    connection.execute(query, [{"node": name} for name in names])


def _insert_rules(connection: Connection, rules_of: Mapping[str, Sequence[str]]) -> None:
    ids = _ids(connection)
    rows: list[dict[str, Any]] = []
    for name, texts in rules_of.items():
        parts = (text.partition(":") for text in sorted(set(texts)))
        rows += [{"node_id": ids[name], "kind": kind, "value": value} for kind, _, value in parts]
    if rows:
        connection.execute(insert(rules), rows)


def _ids(connection: Connection) -> dict[str, int]:
    return {row.name: row.id for row in connection.execute(select(nodes.c.name, nodes.c.id))}
