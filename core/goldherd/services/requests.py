"""What an operation is asked: frozen values with the texts that users write, checked by the operation itself.

Standard dataclasses, so that a command costs no import of a validation library; pydantic's `TypeAdapter` reads them
from JSON and gives their schema (`schema` in operations.py).
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Nothing:
    """An operation that needs no arguments."""


@dataclass(frozen=True, slots=True)
class ImportImage:
    """Seal a disk image as the next version of an image."""

    file: str
    """Path on the machine that holds the data folder."""
    name: str
    in_place: bool = False
    """Seal the file where it is instead of copying it."""
    format: str | None = None
    """The file's format; None to probe."""
    parent: str | None = None
    """The version that a differencing disk is based on, as `name@number`; None to look for it."""
    filters: tuple[str, ...] = ()
    """Filters over the disks of its nodes, each as `name:option=value,...`, the first nearest to the disk."""


@dataclass(frozen=True, slots=True)
class ListImages:
    """All versions, or those of one image."""

    image: str | None = None


@dataclass(frozen=True, slots=True)
class NameVersion:
    """One version: `name@number`, or the active one as `name`."""

    version: str


@dataclass(frozen=True, slots=True)
class RemoveImage:
    """Remove one version, or all of an image when that is said."""

    version: str
    """`name@number`; `name` together with all_versions."""
    all_versions: bool = False
    dry_run: bool = False
    """Change nothing; the answer says what would go."""


@dataclass(frozen=True, slots=True)
class ListNodes:
    """All nodes, or the named ones."""

    nodes: tuple[str, ...] = ()
    """Names and ranges such as pc-[001-040]; all nodes when empty."""


@dataclass(frozen=True, slots=True)
class NameNodes:
    """Nodes by name."""

    nodes: tuple[str, ...]
    """Names and ranges such as pc-[001-040]."""


@dataclass(frozen=True, slots=True)
class ClearNodes:
    """Nodes whose data goes: reset or removed."""

    nodes: tuple[str, ...]
    """Names and ranges such as pc-[001-040]."""
    dry_run: bool = False
    """Change nothing; the answer says what would go."""


@dataclass(frozen=True, slots=True)
class AddNodes:
    """Make nodes; None leaves a field to its default."""

    nodes: tuple[str, ...]
    """Names and ranges such as pc-[001-040]."""
    image: str
    """`name` follows the active version, `name@number` stays on one."""
    policy: str | None = None
    """keep or reset."""
    rules: tuple[str, ...] | None = None
    """Access rules, `kind:value` or any; by default the node's own initiator."""
    macs: tuple[str, ...] | None = None
    chap_user: str | None = None
    chap_secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SetNodes:
    """Change nodes; None leaves a field as it is."""

    nodes: tuple[str, ...]
    """Names and ranges such as pc-[001-040]."""
    image: str | None = None
    policy: str | None = None
    rules: tuple[str, ...] | None = None
    macs: tuple[str, ...] | None = None
    """The network cards from now on; empty for none."""
    chap_user: str | None = None
    chap_secret: bytes | None = field(default=None, repr=False)
    without_chap: bool = False


@dataclass(frozen=True, slots=True)
class RebuildCatalog:
    """Make a catalog from the files in the data folder; the present one is moved aside."""

    dry_run: bool = False
    """Change nothing; the answer says what would be found."""
