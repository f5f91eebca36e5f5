"""What an operation answers, where it is no plain record of model/: frozen values, the same for every face."""

from dataclasses import dataclass

from goldherd.model.images import Totals, VersionRecord
from goldherd.model.nodes import NodeRecord


@dataclass(frozen=True, slots=True)
class VersionDetails:
    """A version, and the nodes that get it at their next login."""

    version: VersionRecord
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verified:
    """A version whose every byte is as it was sealed."""

    name: str
    hash: str
    hash_algorithm: str
    sha256: str | None
    """SHA-256 over all bytes, where it is known."""
    seal_renewed: bool
    """Its file's times had changed, which is noted now."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Whether a version's state was changed; False when it was so already."""

    name: str
    changed: bool


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed, or would be by a dry run."""

    names: tuple[str, ...]
    """Versions or nodes."""
    files: tuple[str, ...]
    """Golden files, node disks and secrets that go."""
    disks: int
    """How many of the files are disks of nodes."""
    kept: tuple[str, ...]
    """Files that were adopted where they are, and stay there read-only."""
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Added:
    """Which nodes were made, and which existed already as asked."""

    created: tuple[str, ...]
    unchanged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodesChanged:
    """Which nodes were changed, and which were as asked already."""

    changed: tuple[str, ...]
    unchanged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reset:
    """Which nodes got fresh disks, and the files thrown away; or would by a dry run."""

    nodes: tuple[str, ...]
    files: tuple[str, ...]
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Status:
    """The catalog in numbers; what is live is added by the daemon that answers."""

    data: str
    catalog: Totals


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed plugin: loaded, or declined with the reason."""

    name: str
    state: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A catalog made from files: what was found, and what the files can not tell."""

    versions: tuple[str, ...]
    nodes: tuple[str, ...]
    unknown: tuple[str, ...]
    """One sentence each."""
    moved_aside: str | None
    """Where the old catalog lies."""
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Marked:
    """The folders that are marked as those of this installation now."""

    folders: tuple[str, ...]


NodeRecords = tuple[NodeRecord, ...]
VersionRecords = tuple[VersionRecord, ...]
