"""What an operation is asked: frozen values with the texts that users write, checked by the operation itself.

A request belongs to one operation, says in its docstring what that does, and knows the type of the answer. Standard
dataclasses, so that a command costs no import of a validation library; pydantic's `TypeAdapter` reads them from JSON
and gives their schema (`schema` in operations.py).
"""

from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from goldherd.model.images import VersionRecord
from goldherd.services import answers

Answer = TypeVar("Answer", covariant=True)


@dataclass(frozen=True, slots=True)
class Request(Generic[Answer]):
    """What one operation is asked, and the type of what it answers."""


# --- images ---


@dataclass(frozen=True, slots=True)
class ImportImage(Request[VersionRecord]):
    """Checks a disk image and seals it as the next version."""

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
class ListImages(Request[answers.VersionRecords]):
    """Lists all versions of all images."""

    image: str | None = None
    """Only the versions of this image."""


@dataclass(frozen=True, slots=True)
class ShowImage(Request[answers.VersionDetails]):
    """Shows one version and the nodes that get it."""

    version: str
    """`name@number`, or the active one as `name`."""


@dataclass(frozen=True, slots=True)
class FindImage(Request[answers.FoundFile]):
    """Tells which sealed version a file is, by whatever name it is reached, and that it is unchanged."""

    file: str
    """Path on the machine that holds the data folder."""


@dataclass(frozen=True, slots=True)
class VerifyImage(Request[answers.Verified]):
    """Reads a version's whole file and compares it with the hash it was sealed with."""

    version: str
    """`name@number`, or the active one as `name`."""


@dataclass(frozen=True, slots=True)
class ActivateImage(Request[answers.Changed]):
    """Makes a version what the next login of every following node gets."""

    version: str
    """`name@number`."""


@dataclass(frozen=True, slots=True)
class RetireImage(Request[answers.Changed]):
    """Takes a version out of use; its file is kept."""

    version: str
    """`name@number`."""


@dataclass(frozen=True, slots=True)
class RemoveImage(Request[answers.Removed]):
    """Removes a version, or all of an image, with the disks that nodes kept on it."""

    version: str
    """`name@number`; `name` together with all_versions."""
    all_versions: bool = False
    dry_run: bool = False
    """Change nothing; the answer says what would go."""


# --- nodes ---


@dataclass(frozen=True, slots=True)
class AddNodes(Request[answers.Added]):
    """Makes nodes, each with a disk, a target and an access rule; None leaves a field to its default."""

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
class SetNodes(Request[answers.NodesChanged]):
    """Changes nodes: only what is named; None leaves a field as it is."""

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
    quota_soft: str | None = None
    """The space that the disk may take before people are warned, such as 20G; none for no bound."""
    quota_hard: str | None = None
    """The space beyond which writes that need more wait, and then fail, as on a full disk."""


@dataclass(frozen=True, slots=True)
class ListNodes(Request[answers.NodeRecords]):
    """Lists nodes."""

    nodes: tuple[str, ...] = ()
    """Names and ranges such as pc-[001-040]; all nodes when empty."""


@dataclass(frozen=True, slots=True)
class ShowNodes(Request[answers.NodeRecords]):
    """Shows nodes with everything that is known of them, but never a secret."""

    nodes: tuple[str, ...]
    """Names and ranges such as pc-[001-040]."""


@dataclass(frozen=True, slots=True)
class ResetNodes(Request[answers.Reset]):
    """Gives nodes a fresh disk on their present version; what they wrote is thrown away."""

    nodes: tuple[str, ...]
    """Names and ranges such as pc-[001-040]."""
    dry_run: bool = False
    """Change nothing; the answer says what would go."""


@dataclass(frozen=True, slots=True)
class CheckNodes(Request[answers.CheckedDisks]):
    """Reads the whole disks of nodes that are shut down; lets a failed one be written again."""

    nodes: tuple[str, ...]
    """Names and ranges such as pc-[001-040]."""
    clear: bool = False
    """Take the mark of a failed disk away when nothing is wrong with it."""


@dataclass(frozen=True, slots=True)
class RemoveNodes(Request[answers.Removed]):
    """Removes nodes with their disks and secrets."""

    nodes: tuple[str, ...]
    """Names and ranges such as pc-[001-040]."""
    dry_run: bool = False
    """Change nothing; the answer says what would go."""


# --- the installation ---


@dataclass(frozen=True, slots=True)
class ShowStatus(Request[answers.Status]):
    """Shows what the catalog holds, whether a daemon serves it, and who is logged in."""


@dataclass(frozen=True, slots=True)
class UpgradeDaemon(Request[answers.Upgraded]):
    """Lets the running daemon hand over to a new process of the goldherd that is installed now; sessions go on."""


@dataclass(frozen=True, slots=True)
class Drain(Request[answers.Drained]):
    """Lets no machine begin to boot, and tells which nodes still run from here."""

    off: bool = False
    """Let machines boot again."""


@dataclass(frozen=True, slots=True)
class StopDaemon(Request[answers.Stopped]):
    """Ends the daemon and waits for that; refuses while nodes run from it."""

    force: bool = False
    """End it all the same: running nodes wait until a daemon serves them again."""


@dataclass(frozen=True, slots=True)
class ListPlugins(Request[answers.Plugins]):
    """Lists the plugins in use with what they bring, and those declined with the reason."""

    names: tuple[str, ...] = ()
    """Only these plugins; all when empty."""


NameKind = Literal["node", "image", "version", "plugin", "format", "filter"]


@dataclass(frozen=True, slots=True)
class FindNames(Request[answers.Names]):
    """Lists the names of one kind that begin with a text, for completion."""

    kind: NameKind
    beginning: str = ""


@dataclass(frozen=True, slots=True)
class MarkVolumes(Request[answers.Marked]):
    """Marks the folders of images and disks, as they are now, as those of this catalog."""


@dataclass(frozen=True, slots=True)
class RebuildCatalog(Request[answers.Rebuilt]):
    """Makes a catalog from the images and overlays that lie in the data folder; the present one is moved aside."""

    dry_run: bool = False
    """Change nothing; the answer says what would be found."""
