"""Nodes: adding, changing, resetting and removing them, alone or by the thousand.

Files come first and one short transaction last, under a lock that lets one such command run at a time;
leftovers.py sees to it that files without a record, or the other way round, do not outlive a failure.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from goldherd.catalog import leftovers
from goldherd.catalog.images import find_version, get_version
from goldherd.catalog.overlays import (
    make_overlays,
    overlay_path,
    overlays_of,
    refuse_if_in_use,
    remove_overlays,
)
from goldherd.catalog.sealing import verify_sealed
from goldherd.catalog.secrets import load_secret, save_secret, secret_path
from goldherd.catalog.store import Catalog, now
from goldherd.catalog.tables import images, macs, nodes, rules, select_nodes, to_node
from goldherd.errors import CatalogError
from goldherd.model.images import Formats, ImageRef, VersionRecord
from goldherd.model.nodes import NodeRecord, Policy


@dataclass(frozen=True, slots=True)
class NodeWishes:
    """What a command says about nodes; None means that it says nothing."""

    image: ImageRef | None = None
    policy: Policy | None = None
    rules: tuple[str, ...] | None = None
    """Access rules as text, `kind:value` (goldherd/model/access.py), or ANYBODY."""
    macs: tuple[str, ...] | None = None
    chap_user: str | None = None
    chap_secret: bytes | None = None
    without_chap: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Which nodes a command changed, and which were as wished already."""

    changed: list[str]
    unchanged: list[str]


def list_nodes(catalog: Catalog, names: Sequence[str] | None = None) -> list[NodeRecord]:
    """All nodes, or the named ones, by name; CatalogError when one of those doesn't exist."""
    with catalog.read() as connection:
        rows = connection.execute(select_nodes().order_by(nodes.c.name)).mappings().all()
    found = [to_node(row, catalog.overlays) for row in rows]
    if names is None:
        return found
    by_name = {node.name: node for node in found}
    missing = [name for name in names if name not in by_name]
    if missing:
        more = f" (nor {len(missing) - 1} others)" if len(missing) > 1 else ""
        raise CatalogError(f"There is no node {missing[0]}{more}: 'goldherd node list' shows what there is.")
    return [by_name[name] for name in names]


def add(
    catalog: Catalog,
    formats: Formats,
    names: Sequence[str],
    wishes: NodeWishes,
    initiator_name: Callable[[str], str],
) -> Outcome:
    """Makes nodes with their disks: all of them or none.

    Nodes that exist already and agree with the wishes are left alone. Raises CatalogError when one
    exists and differs, ImageError when a disk can't be made.
    """
    _refuse_shared_mac(names, wishes)
    with _exclusive(catalog):
        leftovers.sweep(catalog)
        version = get_version(catalog, _wished_image(wishes))
        existing = {node.name: node for node in list_nodes(catalog)}
        new = [name for name in names if name not in existing]
        for name in names:
            if name in existing and (difference := _difference(catalog, existing[name], wishes)):
                raise CatalogError(
                    f"{name} exists with another {difference}: change it with 'goldherd node set', or leave it out."
                )
        if new:
            verify_sealed(version)
            disks = [overlay_path(catalog, name, version) for name in new]
            secret_files = [secret_path(catalog, name) for name in new] if wishes.chap_secret is not None else []
            for path in (*disks, *secret_files):
                if path.exists():
                    raise CatalogError(f"{path} is in the way: the catalog does not know this file, so move it away.")
            with leftovers.change(catalog, [*disks, *secret_files]):
                make_overlays(formats, disks, version)
                _save_secrets(catalog, new, wishes)
                with catalog.write() as connection:
                    _insert(connection, catalog, new, wishes, initiator_name)
    return Outcome(new, [name for name in names if name in existing])


def change(
    catalog: Catalog,
    formats: Formats,
    names: Sequence[str],
    wishes: NodeWishes,
) -> Outcome:
    """Changes existing nodes. Another image or version means another disk, made here; the old one is kept."""
    _refuse_shared_mac(names, wishes)
    with _exclusive(catalog):
        leftovers.sweep(catalog)
        existing = list_nodes(catalog, names)
        differing = [node for node in existing if _difference(catalog, node, wishes, exactly=True)]
        version = None if wishes.image is None else get_version(catalog, wishes.image)
        disks = []
        if version is not None and differing:
            verify_sealed(version)
            disks = [overlay_path(catalog, node.name, version) for node in differing]
            for node in differing:
                moved = (node.image, node.version) != (version.image, version.number)
                refuse_if_in_use(node.name, overlays_of(catalog, node.name) if moved else [], "changed")
        changed = [node.name for node in differing]
        missing = [path for path in disks if not path.exists()]
        dropped = [secret_path(catalog, name) for name in changed] if wishes.without_chap else []
        with leftovers.change(catalog, dropped):
            if version is not None:
                _make_or_undo(formats, missing, version)
            _save_secrets(catalog, changed, wishes)
            with catalog.write() as connection:
                for name in changed:
                    _update(connection, catalog, name, wishes)
    return Outcome(changed, [node.name for node in existing if node.name not in set(changed)])


def reset(catalog: Catalog, formats: Formats, names: Sequence[str]) -> int:
    """Throws the nodes' disks away and makes fresh ones; gives the number of files thrown away.

    Raises CatalogError, before anything is touched, when one of them is in use.
    """
    with _exclusive(catalog):
        existing = list_nodes(catalog, names)
        old = {node.name: overlays_of(catalog, node.name) for node in existing}
        for name, paths in old.items():
            refuse_if_in_use(name, paths, "reset")
        for node in existing:
            if node.version is None:
                raise CatalogError(
                    f"{node.name} can't be reset: its image {node.image} has no active version; activate one first."
                )
        for reference in sorted({(node.image, node.version) for node in existing}):
            version = get_version(catalog, ImageRef(*reference))
            verify_sealed(version)
            mine = [node for node in existing if (node.image, node.version) == reference]
            remove_overlays(path for node in mine for path in old[node.name])
            make_overlays(formats, [overlay_path(catalog, node.name, version) for node in mine], version)
        return sum(len(paths) for paths in old.values())


def remove(catalog: Catalog, names: Sequence[str]) -> int:
    """Forgets nodes, with their disks and secrets; gives their number.

    Raises CatalogError, before anything is touched, when one doesn't exist or is in use.
    """
    with _exclusive(catalog):
        existing = list_nodes(catalog, names)
        files = []
        for node in existing:
            disks = overlays_of(catalog, node.name)
            refuse_if_in_use(node.name, disks, "removed")
            files += [*disks, secret_path(catalog, node.name)]
        with leftovers.change(catalog, files), catalog.write() as connection:
            for node in existing:
                connection.execute(delete(nodes).where(nodes.c.name == node.name))
        return len(existing)


def _exclusive(catalog: Catalog) -> AbstractContextManager[None]:
    return catalog.lock("nodes")


def _wished_image(wishes: NodeWishes) -> ImageRef:
    if wishes.image is None:
        raise CatalogError("A new node needs an image: name one with --image.")
    return wishes.image


def _refuse_shared_mac(names: Sequence[str], wishes: NodeWishes) -> None:
    if wishes.macs and len(names) > 1:
        raise CatalogError(
            f"A MAC address belongs to one node, and {len(names)} are named: give --mac for each node by itself."
        )


def _difference(catalog: Catalog, node: NodeRecord, wishes: NodeWishes, *, exactly: bool = False) -> str:
    """What of a node is not as wished, in a user's words; empty when all of it is.

    `exactly` tells a node that is pinned to a version from one that follows the image to the same version.
    """
    image, secret = wishes.image, wishes.chap_secret
    pinned = ImageRef(node.image, node.version if node.pinned else None)
    wanted = {
        "image": image is not None and (image != pinned if exactly or image.number else image.image != node.image),
        "policy": wishes.policy not in (None, node.policy),
        "access rule": wishes.rules is not None and tuple(sorted(set(wishes.rules))) != node.rules,
        "MAC address": wishes.macs is not None and tuple(sorted(set(wishes.macs))) != node.macs,
        "CHAP user": wishes.chap_user not in (None, node.chap_user)
        or (wishes.without_chap and node.chap_user is not None),
    }
    for what, differs in wanted.items():
        if differs:
            return what
    return "CHAP secret" if secret is not None and secret != load_secret(catalog, node.name) else ""


def _save_secrets(catalog: Catalog, names: Sequence[str], wishes: NodeWishes) -> None:
    if wishes.chap_secret is not None:
        for name in names:
            save_secret(catalog, name, wishes.chap_secret)


def _make_or_undo(formats: Formats, paths: list[Any], version: VersionRecord) -> None:
    try:
        make_overlays(formats, paths, version)
    except BaseException:
        remove_overlays(paths)
        raise


def _chosen(connection: Connection, catalog: Catalog, ref: ImageRef) -> dict[str, int | None]:
    version_id, _ = find_version(connection, catalog, ref)
    image_id = connection.execute(select(images.c.id).where(images.c.name == ref.image)).scalar_one()
    return {"image_id": image_id, "version_id": None if ref.number is None else version_id}


def _insert(
    connection: Connection,
    catalog: Catalog,
    names: Sequence[str],
    wishes: NodeWishes,
    initiator_name: Callable[[str], str],
) -> None:
    common = {
        **_chosen(connection, catalog, _wished_image(wishes)),
        "policy": wishes.policy or "keep",
        "chap_user": wishes.chap_user,
        "created_at": now(),
    }
    connection.execute(insert(nodes), [{"name": name, **common} for name in names])
    ids = {row.name: row.id for row in connection.execute(select(nodes.c.name, nodes.c.id))}
    rows = [
        row for name in names for row in _rule_rows(ids[name], wishes.rules or (f"initiator:{initiator_name(name)}",))
    ]
    connection.execute(insert(rules), rows)
    for mac in sorted(set(wishes.macs or ())):
        connection.execute(insert(macs).values(mac=mac, node_id=ids[names[0]]))


def _rule_rows(node_id: int, texts: Sequence[str]) -> list[dict[str, Any]]:
    parts = [text.partition(":") for text in sorted(set(texts))]
    return [{"node_id": node_id, "kind": kind, "value": value} for kind, _, value in parts]


def _update(connection: Connection, catalog: Catalog, name: str, wishes: NodeWishes) -> None:
    node_id = connection.execute(select(nodes.c.id).where(nodes.c.name == name)).scalar_one()
    values: dict[str, Any] = {}
    if wishes.image is not None:
        values |= _chosen(connection, catalog, wishes.image)
    if wishes.policy is not None:
        values["policy"] = wishes.policy
    if wishes.chap_user is not None or wishes.without_chap:
        values["chap_user"] = wishes.chap_user
    if values:
        connection.execute(update(nodes).where(nodes.c.id == node_id).values(**values))
    if wishes.rules is not None:
        connection.execute(delete(rules).where(rules.c.node_id == node_id))
        connection.execute(insert(rules), _rule_rows(node_id, wishes.rules))
    if wishes.macs is not None:
        connection.execute(delete(macs).where(macs.c.node_id == node_id))
        for mac in sorted(set(wishes.macs)):
            connection.execute(insert(macs).values(mac=mac, node_id=node_id))
