"""Full disks: which writes of open disks wait for space, and since when.

The data plane holds the writes by itself (session/tasks.pyx, reactor/full_disks.pyx); here it is told.
"""

import time
from typing import Any

import structlog

from goldherd.target.open_targets import OpenTargets
from goldherd.target.sessions import OpenTarget, OpenUnit

log = structlog.get_logger("goldherd.space")


class FullDisks:
    """Looks at the open disks every second and tells once when one has no space, and once when it has some again.

    Args:
        targets: which are open.
        hold_seconds: how long writes wait for space.
    """

    def __init__(self, targets: OpenTargets, hold_seconds: float) -> None:
        self._targets, self._hold_seconds = targets, hold_seconds
        self._full: dict[OpenUnit, bool] = {}
        """The disks that were told to be full, and whether their time was told to be over."""

    async def look(self) -> None:
        """One look at all open disks."""
        found = {unit: (target, lun) for target, lun, unit in self._units()}
        for unit in [unit for unit in self._full if unit not in found]:
            del self._full[unit]
        for unit, (target, lun) in found.items():
            self._look_at(target, lun, unit)

    def _units(self) -> list[tuple[OpenTarget, int, OpenUnit]]:
        return [(target, lun, unit) for target in self._targets.all() for lun, unit in target.units.items()]

    def _look_at(self, target: OpenTarget, lun: int, unit: OpenUnit) -> None:
        facts = {"target": target.config.name, "node": target.config.node, "path": target.config.lun(lun).location}
        unit.hot.forget_lack(time.monotonic_ns() // 1_000_000)
        seconds = full_seconds(unit)
        if seconds is None:
            if self._full.pop(unit, None) is not None:
                log.warning("a disk lacks space no more: its writes go on", **facts)
            return
        if unit not in self._full:
            self._full[unit] = False
            log.error("a disk has no space: its writes wait for some", seconds_max=self._hold_seconds, **facts)
        if seconds >= self._hold_seconds and not self._full[unit]:
            self._full[unit] = True
            log.error("writes of a full disk fail: they have waited long enough", **facts)

    def describe(self) -> list[dict[str, Any]]:
        """The open disks without space for writes, for `goldherd status`."""
        return [
            {
                "node": target.config.node,
                "target": target.config.name,
                "lun": lun,
                "path": target.config.lun(lun).location,
                "seconds": seconds,
                "held_writes": unit.hot.space_waits,
                "fails_in_seconds": max(self._hold_seconds - seconds, 0.0),
            }
            for target, lun, unit in self._units()
            if (seconds := full_seconds(unit)) is not None
        ]


def full_seconds(unit: OpenUnit) -> float | None:
    """For how long a disk has had no space for writes; None when it has."""
    since_ms = unit.hot.full_since_ms
    return max(time.monotonic() - since_ms / 1000, 0.0) if since_ms else None
