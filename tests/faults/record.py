"""What one disk may hold: the judge of every cut.

Each write has a number, and each sector that it writes says which disk, write and sector it belongs to. Of every sector
the record keeps the contents that it may have: what the last flush made stable, and each write begun since then. After
a cut any of these is right and everything else is a violation: an older content, another disk's, half of a sector.
"""

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

SECTOR: Final = 512
_BASE: Final = 0
_MARK: Final = b"goldherd"
_CELL: Final = struct.Struct(">8sQQQ")
_REPORTED: Final = 5
"""Sectors of one disk that are named after a cut; the rest is counted."""


def content(disk: int, number: int, sector: int) -> bytes:
    """The 512 bytes that write `number` puts into a sector."""
    return _CELL.pack(_MARK, disk, number, sector) * (SECTOR // _CELL.size)


def describe(data: bytes) -> str:
    """What a sector holds, in a tester's words."""
    if not data.strip(b"\0"):
        return "zeros"
    mark, disk, number, sector = _CELL.unpack(data[: _CELL.size])
    if mark != _MARK:
        return f"bytes of no write ({data[:16].hex()}...)"
    torn = "" if data == content(disk, number, sector) else " in its first bytes only"
    return f"write {number} of disk {disk} at sector {sector}{torn}"


@dataclass(frozen=True)
class Command:
    """One change of sectors [first, first + count); the number is below 0 when it leaves zeros."""

    first: int
    count: int
    number: int
    stable: bool = False
    """Answered GOOD, it is stable (FUA)."""


class DiskRecord:
    """The contents that each sector of a disk may have.

    Args:
        name: for messages.
        disk: a number that no other disk of the test has.
        base: what the disk reads as at first; that is stable.
    """

    def __init__(self, name: str, disk: int, base: bytes) -> None:
        self.name, self.disk = name, disk
        self.sectors = len(base) // SECTOR
        self.flushes = self.writes = 0
        """Answered GOOD so far."""
        self._base = base
        self._number = 0
        self._possible: dict[int, list[int]] = {}
        self._answered: dict[int, int] = {}
        """By sector: the last write that was answered, unless it is stable."""
        self._kept: dict[int, list[int]] = {}
        """What was possible when the daemon was killed."""

    def begin(self, first: int, count: int, *, zeros: bool = False, stable: bool = False) -> tuple[Command, bytes]:
        """A write (or an UNMAP, which leaves zeros) that is about to be sent, and its data."""
        self._number += 1
        number = -self._number if zeros else self._number
        for sector in range(first, first + count):
            self._possible.setdefault(sector, [_BASE]).append(number)
        data = b"" if zeros else b"".join(content(self.disk, number, at) for at in range(first, first + count))
        return Command(first, count, number, stable), data

    def answered(self, command: Command) -> None:
        """The command was answered GOOD."""
        self.writes += 1
        for sector in range(command.first, command.first + command.count):
            self._answered[sector] = command.number
            if command.stable:
                self._settle(sector, command.number)

    def flush_begins(self) -> dict[int, int]:
        """What a flush that is sent now covers; give it to flushed()."""
        return dict(self._answered)

    def flushed(self, covered: dict[int, int]) -> None:
        """A flush was answered GOOD."""
        self.flushes += 1
        for sector, number in covered.items():
            self._settle(sector, number)

    def _settle(self, sector: int, number: int) -> None:
        """No content older than that write is possible any more; a newer one may have made sure of that before."""
        possible = self._possible[sector]
        if number in possible:
            del possible[: possible.index(number)]
        if self._answered.get(sector) == number:
            del self._answered[sector]

    def killed(self, *, everything: bool) -> None:
        """The daemon was killed, not the machine. Call judge(stable=False) then: what is read is not on the disk yet.

        everything: all that was answered must be there; else what was flushed must be, as after a cut.
        """
        self._kept = {sector: list(possible) for sector, possible in self._possible.items()}
        for sector, number in self._answered.items() if everything else ():
            possible = self._possible[sector]
            del possible[: possible.index(number)]

    def judge(self, data: bytes, *, stable: bool = True) -> list[str]:
        """What is wrong with the whole disk as it reads now; afterwards it may hold that.

        stable: what is read now is on the disk (the power was cut), and not only in the kernel's memory.
        """
        if len(data) != len(self._base):
            return [f"{self.name} has {len(data)} bytes and had {len(self._base)}"]
        wrong = [self._complaint(sector, data) for sector in self._differing(data) if sector not in self._possible]
        for sector, possible in self._possible.items():
            found = data[sector * SECTOR : (sector + 1) * SECTOR]
            at = next((at for at in reversed(range(len(possible))) if self._bytes(sector, possible[at]) == found), None)
            if at is None:
                wrong.append(self._complaint(sector, data))
            elif stable:
                self._possible[sector] = [possible[at]]
            else:
                kept = self._kept[sector]
                end = len(kept) - len(possible) + at + 1
                self._possible[sector] = kept[:end]
                self._answered.pop(sector, None)
                if end > 1:
                    self._answered[sector] = kept[end - 1]
        if stable:
            self._answered.clear()
        return wrong[:_REPORTED] + ([f"... and {len(wrong) - _REPORTED} more"] if len(wrong) > _REPORTED else [])

    def _differing(self, data: bytes) -> list[int]:
        """The sectors that do not hold their base."""
        read, base = np.frombuffer(data, np.uint64), np.frombuffer(self._base, np.uint64)
        rows = (read != base).reshape(self.sectors, SECTOR // 8).any(axis=1)
        return [int(sector) for sector in np.flatnonzero(rows)]

    def _bytes(self, sector: int, number: int) -> bytes:
        if number == _BASE:
            return self._base[sector * SECTOR : (sector + 1) * SECTOR]
        return bytes(SECTOR) if number < 0 else content(self.disk, number, sector)

    def _complaint(self, sector: int, data: bytes) -> str:
        found = describe(data[sector * SECTOR : (sector + 1) * SECTOR])
        possible = [
            "the first content" if number == _BASE else f"write {number}" if number > 0 else f"zeros of {-number}"
            for number in self._possible.get(sector, [_BASE])
        ]
        return f"{self.name} (disk {self.disk}), sector {sector}: holds {found}; may hold {' or '.join(possible)}"
