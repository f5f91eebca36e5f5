"""Nodes: adding, changing, resetting and removing them, alone or by the thousand.

Files come first and one short transaction last, under a lock that lets one such operation run at a time;
the intent journal (goldherd/files/journal.py) sees to it that files without a record, or the other way round, do
not outlive a failure.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import Connection

from goldherd.catalog import disks as disk_records
from goldherd.catalog import nodes as records
from goldherd.catalog import quotas as quota_records
from goldherd.catalog.tables import StoredNode
from goldherd.errors import About, CatalogError, ErrorKind
from goldherd.limits import CHAP_SECRET_BYTES_MAX
from goldherd.model.images import ImageRef, VersionRecord
from goldherd.model.names import expand_nodes, natural_key, normalise_mac, parse_image_ref, parse_rule
from goldherd.model.nodes import POLICIES, NodeRecord, NodeSpec, Outcome, Policy, Quota
from goldherd.model.secrets import can_be_secret
from goldherd.model.sizes import parse_size
from goldherd.services import answers, requests
from goldherd.services.context import Services
from goldherd.services.images import find_version, get_version, in_the_way
from goldherd.volumes.checking import failure_of, space_of
from goldherd.volumes.overlays import Listing, fresh_name, holding, make_overlays, node_of
from goldherd.volumes.sealing import verify_sealed
from goldherd.volumes.secrets import load_secret, staged_name, write_secret


def list_nodes(services: Services, names: Sequence[str] | None = None) -> list[NodeRecord]:
    """All nodes, or the named ones, by name; CatalogError when one of those doesn't exist."""
    with services.catalog.read() as connection:
        quotas = quota_records.all_quotas(connection)
        found = [
            record_of(services, node, quotas.get(node.name, Quota()))
            for node in records.list_nodes(connection, services.data)
        ]
    if names is None:
        return sorted(found, key=lambda node: natural_key(node.name))
    by_name = {node.name: node for node in found}
    missing = [name for name in names if name not in by_name]
    if missing:
        more = f" (nor {len(missing) - 1} others)" if len(missing) > 1 else ""
        raise CatalogError(
            f"There is no node {missing[0]}{more}: check the name.",
            kind=ErrorKind.NOT_FOUND,
            about=tuple(About("node", name) for name in missing),
        )
    return [by_name[name] for name in names]


def record_of(services: Services, node: StoredNode, quota: Quota) -> NodeRecord:
    """The record of a node: the catalog's, where its disk lies, what space that takes, and whether it has failed."""
    overlay = None
    if node.version is not None and node.golden_format is not None:
        overlay = services.volumes.overlay(node.name, node.image, node.version, node.golden_format)
    return NodeRecord(
        name=node.name,
        target=services.target_name(node.name),
        macs=node.macs,
        rules=node.rules,
        image=node.image,
        version=node.version,
        pinned=node.pinned,
        policy=node.policy,
        chap_user=node.chap_user,
        overlay=overlay,
        created_at=node.created_at,
        seen_at=node.seen_at,
        seen_address=node.seen_address,
        quota=quota,
        used_bytes=None if overlay is None else space_of(overlay),
        failed=None if overlay is None else failure_of(overlay),
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
                    f"{name} exists with another {difference}: change that node, or leave it out.",
                    kind=ErrorKind.EXISTS,
                    about=(About("node", name), About("field", difference)),
                )
        if new:
            verify_sealed(version)
            disks = [services.volumes.overlay(name, version.image, version.number, version.format) for name in new]
            secrets = [services.volumes.secret(name) for name in new] if spec.chap_secret is not None else []
            with services.changing() as change:
                for path in (*disks, *secrets):
                    if path.exists():
                        raise in_the_way(path)
                change.make([*disks, *secrets])
                make_overlays(services.formats, disks, version)
                for path in secrets:
                    write_secret(path, spec.chap_secret or b"")
                with services.deciding(change.id) as connection:
                    _insert(connection, services, new, spec)
                    disk_records.note(connection, new, version)
    return Outcome(new, [name for name in names if name in existing])


def change(services: Services, names: Sequence[str], spec: NodeSpec) -> Outcome:
    """Changes existing nodes. Another image or version means another disk, made here; the old one is kept."""
    _refuse_shared_mac(names, spec)
    with _exclusive(services), ExitStack() as stack:
        existing = list_nodes(services, names)
        differing = [node for node in existing if _difference(services, node, spec, exactly=True)]
        changed = [node.name for node in differing]
        if not changed:
            return Outcome([], [node.name for node in existing])
        version = None if spec.image is None else get_version(services, spec.image)
        missing: list[Path] = []
        if version is not None:
            verify_sealed(version)
            listing = Listing(services.volumes)
            moved = [node for node in differing if (node.image, node.version) != (version.image, version.number)]
            stack.enter_context(
                holding([path for node in moved for path in listing.of(node.name)], "Nothing is changed")
            )
            disks = [services.volumes.overlay(name, version.image, version.number, version.format) for name in changed]
            missing = [path for path in disks if not path.exists()]
            _refuse_lost(services, missing, version)
        intent = stack.enter_context(services.changing())
        if version is not None:
            intent.make(missing)
            make_overlays(services.formats, missing, version)
        secrets = [services.volumes.secret(name) for name in changed]
        if spec.without_chap:
            intent.remove(secrets)
        if spec.chap_secret is not None:
            pairs = [(staged_name(path), path) for path in secrets]
            intent.make(staged for staged, _ in pairs)
            intent.replace(pairs)
            for staged, _ in pairs:
                write_secret(staged, spec.chap_secret)
        with services.deciding(intent.id) as connection:
            _update(connection, services, changed, spec)
            if version is not None:
                disk_records.note(connection, changed, version)
    touched = set(changed)
    return Outcome(changed, [node.name for node in existing if node.name not in touched])


def reset(services: Services, names: Sequence[str], *, dry_run: bool = False) -> answers.Reset:
    """Throws the nodes' disks away and makes fresh ones.

    Raises CatalogError, before anything is touched, when one of them is in use. Killed at any instant, every node
    has its old disk or a fresh one, and the next change goes on where this one ended.
    """
    with _exclusive(services), ExitStack() as stack:
        existing = list_nodes(services, names)
        listing = Listing(services.volumes)
        old = [path for node in existing for path in listing.of(node.name)]
        stack.enter_context(holding(old, "Nothing is reset"))
        for node in existing:
            if node.version is None:
                raise CatalogError(
                    f"{node.name} can't be reset: its image {node.image} has no active version; activate one first.",
                    kind=ErrorKind.NO_ACTIVE_VERSION,
                    about=(About("node", node.name), About("image", node.image)),
                )
        answer = answers.Reset(tuple(node.name for node in existing), tuple(map(str, old)), dry_run)
        if dry_run:
            return answer
        disks = {node.name: node.overlay for node in existing if node.overlay is not None}
        fresh = {name: fresh_name(path) for name, path in disks.items()}
        intent = stack.enter_context(services.changing())
        intent.make(fresh.values())
        for image, number in sorted({(node.image, node.version or 0) for node in existing}):
            version = get_version(services, ImageRef(image, number))
            verify_sealed(version)
            mine = [node.name for node in existing if (node.image, node.version) == (image, number)]
            make_overlays(services.formats, [fresh[name] for name in mine], version)
        kept = set(disks.values())
        intent.remove(path for path in old if path not in kept)
        intent.replace((fresh[name], path) for name, path in disks.items())
        with services.deciding(intent.id) as connection:
            disk_records.forget(connection, answer.nodes)
            disk_records.note_each(
                connection, [(node.name, node.image, node.version) for node in existing if node.version is not None]
            )
    return answer


def remove(services: Services, names: Sequence[str], *, dry_run: bool = False) -> answers.Removed:
    """Forgets nodes, with their disks and secrets.

    Raises CatalogError, before anything is touched, when one doesn't exist or is in use.
    """
    with _exclusive(services), ExitStack() as stack:
        existing = list_nodes(services, names)
        listing = Listing(services.volumes)
        disks = [path for node in existing for path in listing.of(node.name)]
        secrets = [services.volumes.secret(node.name) for node in existing if node.chap_user is not None]
        stack.enter_context(holding(disks, "Nothing is removed"))
        answer = answers.Removed(
            names=tuple(node.name for node in existing),
            files=tuple(str(path) for path in (*disks, *secrets)),
            disks=len(disks),
            kept=(),
            dry_run=dry_run,
        )
        if not dry_run:
            intent = stack.enter_context(services.changing())
            intent.remove([*disks, *secrets])
            with services.deciding(intent.id) as connection:
                records.delete_nodes(connection, answer.names)
    return answer


def _refuse_lost(services: Services, missing: Sequence[Path], version: VersionRecord) -> None:
    """Raises CatalogError (kind absent) when a disk that is not there was there before."""
    with services.catalog.read() as connection:
        owners = disk_records.owners(connection, version)
    lost = [path for path in missing if node_of(path) in owners]
    if lost:
        name = node_of(lost[0])
        raise CatalogError(
            f"Nothing is changed: the disk {lost[0]} of {name} was there before and is gone; restore it, or reset the "
            "node, which forgets it.",
            kind=ErrorKind.ABSENT,
            about=(About("node", name), About("file", str(lost[0]))),
        )


@contextmanager
def _exclusive(services: Services) -> Iterator[None]:
    """One change of nodes at a time, in the folders that hold their disks."""
    with services.volumes.lock("nodes"):
        services.check_volumes()
        yield


def _image_of(spec: NodeSpec) -> ImageRef:
    if spec.image is None:
        raise CatalogError("A new node needs an image.", kind=ErrorKind.INVALID, about=(About("field", "image"),))
    return spec.image


def _refuse_shared_mac(names: Sequence[str], spec: NodeSpec) -> None:
    if spec.macs and len(names) > 1:
        raise CatalogError(
            f"A MAC address belongs to one node, and {len(names)} are named: name one node with its addresses.",
            kind=ErrorKind.INVALID,
            about=tuple(About("mac", mac) for mac in spec.macs),
        )


def _difference(services: Services, node: NodeRecord, spec: NodeSpec, *, exactly: bool = False) -> str:
    """The field of a node that differs from the spec, in a user's words; empty when none does.

    `exactly` tells a node that is pinned to a version from one that follows the image to the same version.
    """
    image, secret = spec.image, spec.chap_secret
    pinned = ImageRef(node.image, node.version if node.pinned else None)
    wanted = {
        "image": image is not None and (image != pinned if exactly or image.number else image.image != node.image),
        "policy": spec.policy not in (None, node.policy),
        "access rule": spec.rules is not None and tuple(sorted(set(spec.rules))) != node.rules,
        "MAC address": spec.macs is not None and tuple(sorted(set(spec.macs))) != node.macs,
        "quota": spec.quota_soft not in (None, node.quota.soft_bytes)
        or spec.quota_hard not in (None, node.quota.hard_bytes),
        "CHAP user": spec.chap_user not in (None, node.chap_user) or (spec.without_chap and node.chap_user is not None),
    }
    for what, differs in wanted.items():
        if differs:
            return what
    return "CHAP secret" if secret is not None and secret != load_secret(services.volumes, node.name) else ""


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
    _set_macs(connection, names, spec)


def _set_macs(connection: Connection, names: Sequence[str], spec: NodeSpec) -> None:
    """Gives network cards to nodes; CatalogError when another node has one of them."""
    if spec.macs is None:
        return
    for mac, owner in sorted(records.owners_of(connection, spec.macs).items()):
        if owner not in names:
            raise CatalogError(
                f"The MAC address {mac} belongs to {owner} already: take it from that node first.",
                kind=ErrorKind.EXISTS,
                about=(About("mac", mac), About("node", owner)),
            )
    for name in names:
        records.set_macs(connection, name, spec.macs)


def _update(connection: Connection, services: Services, names: Sequence[str], spec: NodeSpec) -> None:
    if spec.image is not None:
        version = find_version(connection, services, spec.image)
        records.set_image(connection, names, version, pinned=spec.image.number is not None)
    if spec.policy is not None:
        records.set_policy(connection, names, spec.policy)
    if spec.chap_user is not None or spec.without_chap:
        records.set_chap_user(connection, names, spec.chap_user)
    if spec.rules is not None:
        records.set_rules(connection, names, spec.rules)
    if spec.quota_soft is not None or spec.quota_hard is not None:
        quota_records.set_quota(connection, names, soft=spec.quota_soft, hard=spec.quota_hard)
    _set_macs(connection, names, spec)


# --- the lines of the table of operations ---


def add_(services: Services, request: requests.AddNodes) -> answers.Added:
    """node.add."""
    outcome = add(services, expand_nodes(list(request.nodes)), _spec_of(request))
    return answers.Added(tuple(outcome.changed), tuple(outcome.unchanged))


def set_(services: Services, request: requests.SetNodes) -> answers.NodesChanged:
    """node.set."""
    outcome = change(services, expand_nodes(list(request.nodes)), _spec_of(request))
    return answers.NodesChanged(tuple(outcome.changed), tuple(outcome.unchanged))


def list_(services: Services, request: requests.ListNodes) -> answers.NodeRecords:
    """node.list."""
    return tuple(list_nodes(services, expand_nodes(list(request.nodes)) if request.nodes else None))


def show(services: Services, request: requests.ShowNodes) -> answers.NodeRecords:
    """node.show."""
    return tuple(list_nodes(services, expand_nodes(list(request.nodes))))


def reset_(services: Services, request: requests.ResetNodes) -> answers.Reset:
    """node.reset."""
    return reset(services, expand_nodes(list(request.nodes)), dry_run=request.dry_run)


def remove_(services: Services, request: requests.RemoveNodes) -> answers.Removed:
    """node.remove."""
    return remove(services, expand_nodes(list(request.nodes)), dry_run=request.dry_run)


def _spec_of(request: requests.AddNodes | requests.SetNodes) -> NodeSpec:
    """The spec in a request, every text checked."""
    if (request.chap_secret is None) != (request.chap_user is None):
        raise CatalogError(
            "A CHAP user name and its secret belong together: give both.",
            kind=ErrorKind.INVALID,
            about=(About("field", "chap_user"), About("field", "chap_secret")),
        )
    if request.chap_user == "" or (request.chap_secret is not None and not can_be_secret(request.chap_secret)):
        raise CatalogError(
            f"A CHAP user needs a name, and a secret is one line of 1 to {CHAP_SECRET_BYTES_MAX} bytes.",
            kind=ErrorKind.INVALID,
            about=(About("field", "chap_user"), About("field", "chap_secret")),
        )
    without_chap = isinstance(request, requests.SetNodes) and request.without_chap
    if without_chap and request.chap_user is not None:
        raise CatalogError(
            "A node asks for CHAP or it does not: give a user name, or take CHAP away.",
            kind=ErrorKind.INVALID,
            about=(About("field", "without_chap"),),
        )
    return NodeSpec(
        image=None if request.image is None else parse_image_ref(request.image),
        policy=_policy(request.policy),
        rules=None if request.rules is None else tuple(parse_rule(text) for text in request.rules),
        macs=None if request.macs is None else tuple(normalise_mac(text) for text in request.macs),
        chap_user=request.chap_user,
        chap_secret=request.chap_secret,
        without_chap=without_chap,
        quota_soft=_size(request.quota_soft, "quota_soft") if isinstance(request, requests.SetNodes) else None,
        quota_hard=_size(request.quota_hard, "quota_hard") if isinstance(request, requests.SetNodes) else None,
    )


def _size(text: str | None, field: str) -> int | None:
    """Bytes; `none` is no bound."""
    if text is None:
        return None
    try:
        return 0 if text.strip().lower() == "none" else parse_size(text)
    except ValueError as error:
        raise CatalogError(f"{error}, or none.", kind=ErrorKind.INVALID, about=(About("field", field),)) from None


def _policy(text: str | None) -> Policy | None:
    for policy in POLICIES:
        if text == policy:
            return policy
    if text is None:
        return None
    raise CatalogError(
        f"'{text}' is no policy: it is {' or '.join(POLICIES)}.",
        kind=ErrorKind.INVALID,
        about=(About("field", "policy"),),
    )
