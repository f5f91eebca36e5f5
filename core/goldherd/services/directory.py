"""The catalog as the server sees it: goldherd.model.targets.Directory, asked anew at every login and discovery.

Nothing is kept in memory, so that a node added by a command is served at once. Queries run on threads of the
directory, one for logins and one for discovery, so that the event loop waits for no disk and a login for no long
list. What the server writes (when a node was last seen, which disks it has) is written by a third thread: a login never
waits for a change of another process.
"""

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import structlog

from goldherd.catalog import disks
from goldherd.catalog import nodes as records
from goldherd.catalog.quotas import all_quotas
from goldherd.catalog.store import now
from goldherd.catalog.tables import StoredNode
from goldherd.errors import ErrorKind, GoldherdError, ImageError
from goldherd.model.access import OWN, Kind, Peer, Rule, admits
from goldherd.model.names import parse_image_ref
from goldherd.model.nodes import ANYBODY, Quota
from goldherd.model.options import parse_filter
from goldherd.model.targets import ChapCredentials, LunConfig, TargetConfig
from goldherd.services.context import Services
from goldherd.services.images import get_version, sealed_version_at
from goldherd.volumes import marks
from goldherd.volumes.overlays import remove_overlays
from goldherd.volumes.secrets import load_secret

_log = structlog.get_logger("goldherd.catalog")


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A golden file that may be opened as a parent, and the one above it when it is itself a child."""

    path: Path
    format: str
    name: str
    parent: Path | None
    times_changed: int
    """How often it, or one that it is based on, was found changed: what was read before the last time may be wrong."""


@dataclass(frozen=True, slots=True)
class NodeSummary:
    """A node as discovery tells of it (model.targets.TargetSummary)."""

    name: str
    alias: str
    node: str


@dataclass(frozen=True, slots=True)
class _Seen:
    node: str
    address: str
    at: str


@dataclass(frozen=True, slots=True)
class _Made:
    """A disk that a node has and the records don't know yet."""

    node: str
    image: str
    number: int
    disk: Path
    """Where it lies, if it was made: a node with sessions on another version was given that one's disk."""


class CatalogDirectory:
    """Finds targets by name and by initiator."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._catalog = services.catalog
        self._prefix = services.target_name("")
        self._notes: SimpleQueue[_Seen | _Made | None] = SimpleQueue()
        self._unknown: dict[str, _Made] = {}
        """The disks that logins under way will have and the records don't know, by node."""
        self._writer = threading.Thread(target=self._write_notes, name="catalog", daemon=True)
        self._writer.start()
        self._logins = ThreadPoolExecutor(1, thread_name_prefix="directory")
        self._lists = ThreadPoolExecutor(1, thread_name_prefix="discovery")

    async def find(self, target: str) -> TargetConfig | None:
        """The target of that (normalised) name; None when there is no such node or it has no disk now."""
        if not target.startswith(self._prefix):
            return None
        return await asyncio.get_running_loop().run_in_executor(self._logins, self._find, target)

    async def visible_to(self, peer: Peer) -> Sequence[NodeSummary]:
        """All targets that admit this peer, in name order."""
        return await asyncio.get_running_loop().run_in_executor(self._lists, self._visible_to, peer)

    async def quotas(self) -> Mapping[str, Quota]:
        """Node to quota, of the nodes that have one."""
        return await asyncio.get_running_loop().run_in_executor(self._lists, self._quotas)

    def _quotas(self) -> Mapping[str, Quota]:
        with self._catalog.read() as connection:
            return all_quotas(connection)

    def _find(self, target: str) -> TargetConfig | None:
        with self._catalog.read() as connection:
            node = records.find_node(connection, self._catalog.data, target.removeprefix(self._prefix))
        if node is None:
            return None
        config = self._target(node)
        if config is not None and node.version is not None and not node.had_disk:
            self._unknown[node.name] = _Made(node.name, node.image, node.version, config.luns[0].path)
        return config

    def _visible_to(self, peer: Peer) -> Sequence[NodeSummary]:
        with self._catalog.read() as connection:
            found = records.perhaps_admitting(connection, self._catalog.data, peer.initiator)
        return [
            NodeSummary(f"{self._prefix}{node.name}", _alias(node), node.name)
            for node in found
            if node.golden is not None and _admits(node, peer)
        ]

    async def discovery_credentials(self) -> ChapCredentials | None:
        """Discovery is open: what it shows depends on the initiator's name."""
        return None

    def node_seen(self, target: str, initiator: str, address: str) -> None:  # noqa: ARG002
        """Notes when and from where a node logged in; returns at once."""
        node = target.removeprefix(self._prefix)
        self._notes.put(_Seen(node, address, now()))
        made = self._unknown.pop(node, None)
        if made is not None:  # a disk that no login came to use may go again
            self._notes.put(made)

    def sealed(self, path: Path) -> SealedFile:
        """The golden file at path, found unchanged, and so all that it is based on.

        Raises ImageError when one is missing or was changed since it was sealed, or is not of this catalog.
        """
        version = sealed_version_at(self._services, path)
        if version is None:
            raise ImageError(
                f"{path} is not a sealed image of this catalog and can't be a parent: import it first.",
                path=str(path),
                kind=ErrorKind.NOT_FOUND,
            )
        above = None
        if version.parent is not None:
            above = self.sealed(get_version(self._services, parse_image_ref(version.parent)).path)
        return SealedFile(
            version.path,
            version.format,
            version.name,
            None if above is None else above.path,
            version.times_changed + (0 if above is None else above.times_changed),
        )

    def close(self) -> None:
        """Writes what is still to be written; call it once, when no more logins come."""
        self._logins.shutdown()
        self._lists.shutdown()
        self._notes.put(None)
        self._writer.join()

    def remove_disks(self, target: TargetConfig) -> None:
        """Throws a node's overlays away; they are made anew when the target is opened."""
        remove_overlays([lun.path for lun in target.luns if lun.parent is not None])

    def _target(self, node: StoredNode) -> TargetConfig | None:
        if node.version is None or node.golden is None or node.golden_format is None:
            _log.warning("a node has no disk: its image has no active version", node=node.name, image=node.image)
            return None
        credentials = None
        if node.chap_user is not None:
            try:
                credentials = ChapCredentials(node.chap_user, load_secret(self._services.volumes, node.name))
            except GoldherdError as error:
                _log.error("a node can't prove who it is", node=node.name, reason=str(error))
                return None
        name = f"{self._prefix}{node.name}"
        overlay = self._services.volumes.overlay(node.name, node.image, node.version, node.golden_format)
        lun = LunConfig(
            lun=0,
            location=str(overlay),
            format=node.golden_format,
            parent=node.golden,
            parent_format=node.golden_format,
            create=self._may_be_made(node, overlay),
            filters=tuple(parse_filter(text) for text in node.filters),
            identity=self._services.installation.disk_identity(name),
        )
        return TargetConfig(
            name=name,
            luns=(lun,),
            alias=_alias(node),
            access=_access(node),
            credentials=credentials,
            node=node.name,
            policy=node.policy,
        )

    def _may_be_made(self, node: StoredNode, overlay: Path) -> bool:
        """Whether a login makes the node's disk when it is not there.

        A disk that was there before is not made anew, unless the node gets a fresh one at each boot. No disk is made in
        a folder that is not the volume of this installation.
        """
        if node.had_disk and node.policy == "keep":
            return False
        return overlay.exists() or marks.installation_of(overlay.parent) == self._services.installation

    def _write_notes(self) -> None:
        while (first := self._notes.get()) is not None:
            batch = {first}
            last = False
            while not self._notes.empty() and not last:
                entry = self._notes.get()
                if entry is None:
                    last = True
                else:
                    batch.add(entry)
            self._save(batch)
            if last:
                return

    def _save(self, batch: "set[_Seen | _Made]") -> None:
        seen = sorted((note for note in batch if isinstance(note, _Seen)), key=lambda note: note.at)
        made = [note for note in batch if isinstance(note, _Made) and note.disk.exists()]
        try:
            with self._catalog.write() as connection:
                for note in seen:
                    records.note_seen(connection, note.node, note.at, note.address)
                disks.note_each(connection, [(note.node, note.image, note.number) for note in made])
        except GoldherdError as error:
            _log.warning("could not note what became of nodes", notes=len(batch), reason=str(error))


def _alias(node: StoredNode) -> str:
    return f"{node.name} on {node.image}@{node.version}"


def _access(node: StoredNode) -> frozenset[Rule] | None:
    """The rules of which one must fit; None when every initiator is admitted."""
    return None if ANYBODY in node.rules else frozenset(_rules_of(node))


def _admits(node: StoredNode, peer: Peer) -> bool:
    access = _access(node)
    return access is None or admits(access, peer)


def _rules_of(node: StoredNode) -> Iterator[Rule]:
    """A node's rules; mac:node stands for each of its network cards."""
    for text in node.rules:
        kind, _, value = text.partition(":")
        if (kind, value) == (Kind.MAC, OWN):
            yield from (Rule(Kind.MAC, mac) for mac in node.macs)
        else:
            yield Rule(Kind(kind), value)
