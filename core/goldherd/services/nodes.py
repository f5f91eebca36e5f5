"""Nodes: adding, changing, resetting and removing them, alone or by the thousand.

Files come first and one short transaction last, under a lock that lets one such operation run at a time;
the intent journal (goldherd/files/journal.py) sees to it that files without a record, or the other way round, do
not outlive a failure.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from sqlalchemy import Connection

from goldherd.catalog import nodes as records
from goldherd.catalog.tables import StoredNode
from goldherd.errors import CatalogError
from goldherd.model.images import ImageRef
from goldherd.model.nodes import NodeRecord, NodeSpec, Outcome
from goldherd.services.context import Services
from goldherd.services.images import find_version, get_version
from goldherd.volumes.overlays import make_overlays, overlays_of, refuse_if_in_use, remove_overlays
from goldherd.volumes.sealing import verify_sealed
from goldherd.volumes.secrets import load_secret, save_secret


def list_nodes(services: Services, names: Sequence[str] | None = None) -> list[NodeRecord]:
    """All nodes, or the named ones, by name; CatalogError when one of those doesn't exist."""
    with services.catalog.read() as connection:
        found = [record_of(services, node) for node in records.list_nodes(connection, services.data)]
    if names is None:
        return sorted(found, key=lambda node: node.name)
    by_name = {node.name: node for node in found}
    missing = [name for name in names if name not in by_name]
    if missing:
        more = f" (nor {len(missing) - 1} others)" if len(missing) > 1 else ""
        raise CatalogError(f"There is no node {missing[0]}{more}: 'goldherd node list' shows what there is.")
    return [by_name[name] for name in names]


def record_of(services: Services, node: StoredNode) -> NodeRecord:
    """What a node is: what the catalog knows of it, and where its disk lies."""
    return NodeRecord(
        name=node.name,
        macs=node.macs,
        rules=node.rules,
        image=node.image,
        version=node.version,
        pinned=node.pinned,
        policy=node.policy,
        chap_user=node.chap_user,
        overlay=None if node.version is None else services.volumes.overlay(node.name, node.image, node.version),
        created_at=node.created_at,
        seen_at=node.seen_at,
        seen_address=node.seen_address,
    )


def add(services: Services, names: Sequence[str], spec: NodeSpec) -> Outcome:
    """Makes nodes with their disks: all of them or none.

    Nodes that exist already and agree with the spec are left alone. Raises CatalogError when one
    exists and differs, ImageError when a disk can't be made.
    """
    _refuse_shared_mac(names, spec)
    with _exclusive(services):
        version = get_version(services, _image_of(spec))
        existing = {node.name: node for node in list_nodes(services)}
        new = [name for name in names if name not in existing]
        for name in names:
            if name in existing and (difference := _difference(services, existing[name], spec)):
                raise CatalogError(
                    f"{name} exists with another {difference}: change it with 'goldherd node set', or leave it out."
                )
        if new:
            verify_sealed(version)
            disks = [services.volumes.overlay(name, version.image, version.number) for name in new]
            secrets = [services.volumes.secret(name) for name in new] if spec.chap_secret is not None else []
            with services.volumes.journal.change() as change:
                for path in (*disks, *secrets):
                    if path.exists():
                        raise CatalogError(
                            f"{path} is in the way: the catalog does not know this file, so move it away."
                        )
                change.make([*disks, *secrets])
                make_overlays(services.formats, disks, version)
                _save_secrets(services, new, spec)
                with services.deciding(change.id) as connection:
                    _insert(connection, services, new, spec)
    return Outcome(new, [name for name in names if name in existing])


def change(services: Services, names: Sequence[str], spec: NodeSpec) -> Outcome:
    """Changes existing nodes. Another image or version means another disk, made here; the old one is kept."""
    _refuse_shared_mac(names, spec)
    with _exclusive(services), services.volumes.journal.change() as intent:
        existing = list_nodes(services, names)
        differing = [node for node in existing if _difference(services, node, spec, exactly=True)]
        changed = [node.name for node in differing]
        version = None if spec.image is None else get_version(services, spec.image)
        if version is not None and differing:
            verify_sealed(version)
            for node in differing:
                moved = (node.image, node.version) != (version.image, version.number)
                refuse_if_in_use(node.name, overlays_of(services.volumes, node.name) if moved else [], "changed")
            disks = [services.volumes.overlay(name, version.image, version.number) for name in changed]
            missing = [path for path in disks if not path.exists()]
            intent.make(missing)
            make_overlays(services.formats, missing, version)
        if spec.without_chap:
            intent.remove(services.volumes.secret(name) for name in changed)
        _save_secrets(services, changed, spec)
        with services.deciding(intent.id) as connection:
            _update(connection, services, changed, spec)
    return Outcome(changed, [node.name for node in existing if node.name not in set(changed)])


def reset(services: Services, names: Sequence[str]) -> int:
    """Throws the nodes' disks away and makes fresh ones; gives the number of files thrown away.

    Raises CatalogError, before anything is touched, when one of them is in use.
    """
    with _exclusive(services):
        existing = list_nodes(services, names)
        old = {node.name: overlays_of(services.volumes, node.name) for node in existing}
        for name, paths in old.items():
            refuse_if_in_use(name, paths, "reset")
        for node in existing:
            if node.version is None:
                raise CatalogError(
                    f"{node.name} can't be reset: its image {node.image} has no active version; activate one first."
                )
        for image, number in sorted({(node.image, node.version) for node in existing}):
            version = get_version(services, ImageRef(image, number))
            verify_sealed(version)
            mine = [node for node in existing if (node.image, node.version) == (image, number)]
            remove_overlays(path for node in mine for path in old[node.name])
            disks = [services.volumes.overlay(node.name, version.image, version.number) for node in mine]
            make_overlays(services.formats, disks, version)
        return sum(len(paths) for paths in old.values())


def remove(services: Services, names: Sequence[str]) -> int:
    """Forgets nodes, with their disks and secrets; gives their number.

    Raises CatalogError, before anything is touched, when one doesn't exist or is in use.
    """
    with _exclusive(services):
        existing = list_nodes(services, names)
        files = []
        for node in existing:
            disks = overlays_of(services.volumes, node.name)
            refuse_if_in_use(node.name, disks, "removed")
            files += [*disks, services.volumes.secret(node.name)]
        with services.volumes.journal.change() as intent:
            intent.remove(files)
            with services.deciding(intent.id) as connection:
                records.delete_nodes(connection, names)
        return len(existing)


def _exclusive(services: Services) -> AbstractContextManager[None]:
    return services.volumes.lock("nodes")


def _image_of(spec: NodeSpec) -> ImageRef:
    if spec.image is None:
        raise CatalogError("A new node needs an image: name one with --image.")
    return spec.image


def _refuse_shared_mac(names: Sequence[str], spec: NodeSpec) -> None:
    if spec.macs and len(names) > 1:
        raise CatalogError(
            f"A MAC address belongs to one node, and {len(names)} are named: give --mac for each node by itself."
        )


def _difference(services: Services, node: NodeRecord, spec: NodeSpec, *, exactly: bool = False) -> str:
    """What of a node is not as the spec says, in a user's words; empty when all of it is.

    `exactly` tells a node that is pinned to a version from one that follows the image to the same version.
    """
    image, secret = spec.image, spec.chap_secret
    pinned = ImageRef(node.image, node.version if node.pinned else None)
    wanted = {
        "image": image is not None and (image != pinned if exactly or image.number else image.image != node.image),
        "policy": spec.policy not in (None, node.policy),
        "access rule": spec.rules is not None and tuple(sorted(set(spec.rules))) != node.rules,
        "MAC address": spec.macs is not None and tuple(sorted(set(spec.macs))) != node.macs,
        "CHAP user": spec.chap_user not in (None, node.chap_user) or (spec.without_chap and node.chap_user is not None),
    }
    for what, differs in wanted.items():
        if differs:
            return what
    return "CHAP secret" if secret is not None and secret != load_secret(services.volumes, node.name) else ""


def _save_secrets(services: Services, names: Sequence[str], spec: NodeSpec) -> None:
    if spec.chap_secret is not None:
        for name in names:
            save_secret(services.volumes, name, spec.chap_secret)


def _insert(connection: Connection, services: Services, names: Sequence[str], spec: NodeSpec) -> None:
    image = _image_of(spec)
    records.insert_nodes(
        connection,
        find_version(connection, services, image),
        {name: spec.rules or (f"initiator:{services.initiator_name(name)}",) for name in names},
        pinned=image.number is not None,
        policy=spec.policy or "keep",
        chap_user=spec.chap_user,
    )
    if spec.macs:
        records.set_macs(connection, names[0], spec.macs)


def _update(connection: Connection, services: Services, names: Sequence[str], spec: NodeSpec) -> None:
    if not names:
        return
    if spec.image is not None:
        version = find_version(connection, services, spec.image)
        records.set_image(connection, names, version, pinned=spec.image.number is not None)
    if spec.policy is not None:
        records.set_policy(connection, names, spec.policy)
    if spec.chap_user is not None or spec.without_chap:
        records.set_chap_user(connection, names, spec.chap_user)
    if spec.rules is not None:
        records.set_rules(connection, names, spec.rules)
    if spec.macs is not None:
        records.set_macs(connection, names[0], spec.macs)
