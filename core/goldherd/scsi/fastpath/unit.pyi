"""Signatures of unit.pyx."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol, type_check_only

from goldherd.block.image import Image
from goldherd.scsi.fastpath.watch import Watch

class NexusFlag(IntEnum):
    """Commands of a nexus that the data plane leaves to Python; 0 almost always."""

    SLOW_ALL = 1
    """A condition is pending: a unit attention, another's RESERVE, a medium that is not ready."""
    SLOW_READ = 2
    """Reads conflict with a reservation."""
    SLOW_WRITE = 4
    """Writes conflict with a reservation, or the unit is write protected."""
    WRITE_THROUGH = 8
    """The write cache is off: every write is FUA."""
    SLOW_PREBUILT = 16
    """Prebuilt answers may not be used: MODE SENSE conflicts with a persistent reservation."""

@type_check_only
class PrebuiltAnswer(Protocol):
    """A command block, which of its bits count, and the bytes that answer it."""

    @property
    def cdb(self) -> bytes: ...
    @property
    def mask(self) -> bytes: ...
    @property
    def answer(self) -> bytes: ...
    @property
    def allocation_at(self) -> int: ...
    @property
    def allocation_bytes(self) -> int: ...

class HotUnit:
    """One logical unit for the data plane."""

    image: Image
    def __init__(self, image: Image, block_size: int = ...) -> None: ...
    def publish(self, answers: Sequence[PrebuiltAnswer]) -> None: ...
    def exchange(self, image: Image) -> None: ...
    def watch(self, watched: tuple[Watch, ...]) -> None: ...
    def quiesce(self) -> None: ...
    def resume(self) -> None: ...
    def note_lack(self, now_ms: int) -> int: ...
    def note_space(self) -> None: ...
    def forget_lack(self, now_ms: int) -> None: ...
    @property
    def full_since_ms(self) -> int: ...
    @property
    def space_waits(self) -> int: ...

class HotNexus:
    """One I_T_L nexus for the data plane."""

    unit: HotUnit
    flags: int
    def __init__(self, unit: HotUnit, number: int, flags: int = ...) -> None: ...
    @property
    def number(self) -> int: ...
