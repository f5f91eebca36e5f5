"""What an operation answers, where it is no plain record of model/: frozen values, the same for every face."""

from dataclasses import dataclass
from typing import Any

from goldherd.model.images import Totals, VersionRecord
from goldherd.model.nodes import NodeRecord
from goldherd.model.plugins import PluginRecord


@dataclass(frozen=True, slots=True)
class VersionDetails:
    """A version, and the nodes that get it at their next login."""

    version: VersionRecord
    nodes: tuple[str, ...]
    fault: str | None
    """What keeps it from being used now, as a sentence: its file was changed or can't be read."""


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
    cleared: bool
    """Its file had been found changed; nodes get it again."""


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
class FoundFile:
    """What a file is to the catalog."""

    version: VersionRecord | None
    """The sealed version that it is; None for any other file."""
    write_protected: bool
    """Whether no user has permission to write it."""


@dataclass(frozen=True, slots=True)
class CheckedDisk:
    """What was found in one disk of a node."""

    node: str
    path: str
    failure: str | None
    """How written data was lost once; None when the disk has not failed."""
    faults: tuple[str, ...]
    """What is wrong now, a sentence each."""
    read_bytes: int
    cleared: bool
    """Whether the disk had failed and takes writes again."""


@dataclass(frozen=True, slots=True)
class Status:
    """The catalog in numbers, and what is live."""

    data: str
    catalog: Totals
    running: bool
    """Whether a daemon serves the data folder."""
    daemon: dict[str, Any] | None
    """What the daemon says of itself (docs/cli.md); None when none runs or it does not tell this user."""
    withheld: str | None
    """Why a running daemon does not tell: one sentence."""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """A daemon that has handed over to another process."""

    pid: int
    """The process that serves now."""
    version: str
    """Its goldherd."""
    sessions: int
    """Sessions that went on."""
    pause_seconds: float
    """How long they stood still."""


@dataclass(frozen=True, slots=True)
class Drained:
    """Whether the daemon drains, and which nodes run from it."""

    draining: bool
    nodes: tuple[str, ...]
    """Those with a session; a node that is not in the catalog any more by its target's name."""
    safe: bool
    """Whether the daemon can be stopped: it drains, and no node runs from it."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The daemon that has ended."""

    pid: int
    nodes: tuple[str, ...]
    """The nodes that ran from it."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed plugin, and what it did wrong in the running daemon."""

    record: PluginRecord
    faults: int | None
    """How often it failed since the daemon began; None when no daemon tells."""
    last_fault: str | None
    """Its last failure, in one sentence."""
    fault_at: str | None
    """When that was: UTC in ISO 8601."""


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


CheckedDisks = tuple[CheckedDisk, ...]
Names = tuple[str, ...]
NodeRecords = tuple[NodeRecord, ...]
Plugins = tuple[Plugin, ...]
VersionRecords = tuple[VersionRecord, ...]
