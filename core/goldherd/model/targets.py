"""What a target is, told by whoever configures it: the catalog (`serve`) or the command line (`export`).

These records cross the border between configuration and the server; they know neither of the two.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from goldherd.model.access import Peer, Rule, admits, difference
from goldherd.model.options import FilterSpec, OptionTexts


@dataclass(frozen=True, slots=True)
class ChapCredentials:
    """CHAP names and secrets of one target (RFC 1994, RFC 7143 12.1.3); repr never shows a secret."""

    user: str
    secret: bytes = field(repr=False)
    mutual_user: str | None = None
    mutual_secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LunConfig:
    """One logical unit: which disk, opened how, shown how.

    `parent` set means: the disk is a differencing child (made when absent if `create` is set) over this sealed
    parent. `sealed` means the disk itself is a golden image: read-only, through the golden cache.
    """

    lun: int
    location: str
    """What the disk's format opens, unchanged: the path of a file for most, e.g. a URL for others."""
    format: str | None = None
    """The name of the format; None: the location is a file, and its format is to be found out."""
    options: OptionTexts = ()
    """The options of the format."""
    filters: tuple[FilterSpec, ...] = ()
    """Filters over the disk, the first nearest to it."""
    parent: Path | None = None
    parent_format: str | None = None
    create: bool = field(default=False, compare=False)
    """Whether an absent disk is made; a disk that is open stays the same whatever this says."""
    sealed: bool = False
    read_only: bool = False
    removable: bool = False
    thin: bool = True
    block_size: int = 512
    physical_block_size: int = 512
    identity: str = ""
    """What serial number and NAA id are made from; stable over restarts. Empty: what is kept with the file."""

    @property
    def path(self) -> Path:
        """The location as a path."""
        return Path(self.location)


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """One target: its name, who may log in, how it must prove itself, and its logical units."""

    name: str
    luns: tuple[LunConfig, ...]
    alias: str = ""
    access: frozenset[Rule] | None = None
    """Who may log in and see it: whoever one of these rules fits; None for anybody."""
    credentials: ChapCredentials | None = None
    node: str | None = None
    policy: Literal["keep", "reset"] = "keep"

    def lun(self, number: int) -> LunConfig:
        """The logical unit of that number, which it has."""
        return next(lun for lun in self.luns if lun.lun == number)

    def admits(self, peer: Peer) -> bool:
        """Whether the access rules let that peer in. UnresolvedError when a DNS name must be looked up first."""
        return self.access is None or admits(self.access, peer)

    def difference(self, peer: Peer) -> str:
        """What of a peer that is not admitted differs from what would be, for the log."""
        return difference(self.access or (), peer)


class TargetSummary(Protocol):
    """What discovery tells of a target (hookspecs.TargetRecord)."""

    @property
    def name(self) -> str:
        """Its normalised iSCSI name."""
        ...

    @property
    def alias(self) -> str:
        """What people call it; may be empty."""
        ...


class Directory(Protocol):
    """Where a target server learns what its targets are: asked at each login and discovery, so that changes need no
    restart.

    A catalog may be slow or on another machine, so questions are asynchronous. A login asks `find` once, and a second
    time only when it has opened the target's disks.
    """

    async def find(self, target: str) -> TargetConfig | None:
        """The target of that (normalised) name with all that a login needs, or None."""
        ...

    async def visible_to(self, peer: Peer) -> Sequence[TargetSummary]:
        """All targets that admit this peer, in name order; no secret is read. `peer.facts` may be asked on another
        thread, and must know every answer."""
        ...

    async def discovery_credentials(self) -> ChapCredentials | None:
        """What a discovery session must prove; None when discovery is open."""
        ...

    def node_seen(self, target: str, initiator: str, address: str) -> None:
        """Told at every successful normal login, for `node list`; returns at once and raises nothing."""
        ...


class Live(Protocol):
    """What a running target server has open now, for operations that must not touch it. May be asked on any thread.

    A disk that is being opened or closed counts as open. Another process is asked through the locks of the files.
    """

    def open_nodes(self) -> frozenset[str]:
        """The nodes whose disks are open."""
        ...

    def open_files(self) -> frozenset[Path]:
        """The files that are open: disks, and the golden images that these lie on."""
        ...

    def readers(self) -> Mapping[Path, Collection[str]]:
        """The golden images that open disks lie on, each with the nodes of these disks."""
        ...
