"""Quotas of nodes: a disk that has used up its own takes no more space, as if its file system were full."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import structlog

from goldherd.model.nodes import Quota
from goldherd.target.disks import Disks
from goldherd.target.open_targets import OpenTargets
from goldherd.target.sessions import OpenTarget
from goldherd.target.space.volumes import Volumes

log = structlog.get_logger("goldherd.space")


class _State(NamedTuple):
    """Which quotas of a node are used up."""

    soft: bool
    hard: bool


class Quotas:
    """Compares every few seconds what the disks of open nodes take with what they may.

    Args:
        targets: which are open.
        volumes: knows what their files take.
        ask: the quotas by node; None: there are none.
    """

    def __init__(
        self, targets: OpenTargets, volumes: Volumes, ask: Callable[[], Awaitable[Mapping[str, Quota]]] | None
    ) -> None:
        self._targets, self._volumes, self._ask = targets, volumes, ask
        self._used_up: dict[OpenTarget, tuple[_State, Quota, int]] = {}

    async def look(self) -> None:
        """One look at all open nodes."""
        if self._ask is None:
            return
        quotas = await self._ask()
        targets = self._targets.all()
        self._used_up = {target: state for target, state in self._used_up.items() if target in targets}
        for target in targets:
            if target.config.node is not None:
                self._compare(target, target.config.node, quotas.get(target.config.node, Quota()))

    def _compare(self, target: OpenTarget, node: str, quota: Quota) -> None:
        used = sum(self._volumes.used_bytes.get(location, 0) for location in target.files)
        before, *_ = self._used_up.get(target, (_State(False, False), quota, 0))
        now = _State(0 < quota.soft_bytes <= used, 0 < quota.hard_bytes <= used)
        if now.hard != before.hard:
            for image in target.images:
                if not Disks.is_shared(image):
                    image.stop_growth(now.hard)
        facts = {"node": node, "used_bytes": used, "soft_bytes": quota.soft_bytes, "hard_bytes": quota.hard_bytes}
        if now.hard > before.hard:
            log.error("a node has used up its quota: writes that need more space wait", **facts)
        elif now.soft > before.soft:
            log.warning("a node has used up its soft quota", **facts)
        elif before.hard > now.hard:
            log.warning("a node may take more space again: its writes go on", **facts)
        if any(now):
            self._used_up[target] = (now, quota, used)
        else:
            self._used_up.pop(target, None)

    def describe(self) -> list[dict[str, Any]]:
        """The open nodes that have used up a quota, for `goldherd status`."""
        return [
            {
                "node": target.config.node,
                "used_bytes": used,
                "quota_soft": quota.soft_bytes or None,
                "quota_hard": quota.hard_bytes or None,
                "hard": state.hard,
            }
            for target, (state, quota, used) in self._used_up.items()
        ]
