"""Nodes, the diskless machines: a plain, frozen record without secrets. Times are UTC in ISO 8601."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from goldherd.model.images import ImageRef

Policy = Literal["keep", "reset"]
POLICIES: Final = ("keep", "reset")
ANY_INITIATOR: Final = "any"
"""The initiator that stands for all of them: whoever asks is admitted."""
ANYBODY: Final = f"initiator:{ANY_INITIATOR}"
"""The rule that says so."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How much space the disk of a node may take; 0: no bound."""

    soft_bytes: int = 0
    """Beyond it people are warned."""
    hard_bytes: int = 0
    """Beyond it writes that need more space wait, and then fail, as on a full disk."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One diskless machine."""

    name: str
    target: str
    """The iSCSI name of its target."""
    macs: tuple[str, ...]
    rules: tuple[str, ...]
    """Its access rules as text, `kind:value`; one that fits admits."""
    image: str
    version: int | None
    """What its next login gets; None while the image has no active version."""
    pinned: bool
    """Whether the version was chosen by number; otherwise the node follows the active one."""
    policy: Policy
    chap_user: str | None
    overlay: Path | None
    created_at: str
    seen_at: str | None
    seen_address: str | None
    quota: Quota = Quota()
    used_bytes: int | None = None
    """The space that its disk takes; None without a disk."""
    failed: str | None = None
    """How its disk has lost written data, so that it takes no writes (docs/failed-disks.md); None for a sound one."""

    @property
    def initiators(self) -> tuple[str, ...]:
        """The initiators that it admits by name, `any` among them if it admits all."""
        return tuple(rule.removeprefix("initiator:") for rule in self.rules if rule.startswith("initiator:"))


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """How nodes shall be; None says nothing about a field."""

    image: ImageRef | None = None
    policy: Policy | None = None
    rules: tuple[str, ...] | None = None
    """Access rules as text, `kind:value` (goldherd/model/access.py), or ANYBODY."""
    macs: tuple[str, ...] | None = None
    chap_user: str | None = None
    chap_secret: bytes | None = field(default=None, repr=False)
    without_chap: bool = False
    quota_soft: int | None = None
    quota_hard: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Which nodes a change touched, and which were as they shall be already."""

    changed: list[str]
    unchanged: list[str]
