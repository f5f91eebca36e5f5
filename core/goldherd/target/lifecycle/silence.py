"""Notices nodes that hang: machines that were up, answered pings, and then say nothing for a set time.

Only a session that has answered a ping before can fall silent: a boot loader answers none, and a machine that has
logged out or closed its connection is not silent but gone. The reactor ends such a session (CLOSE_SILENT); from then on
the node counts as silent until it logs in again. What is done about it is told to the log, to plugins and, if the
settings allow it, to the power hooks, so many times an hour for each node.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from goldherd import limits
from goldherd.errors import GoldherdError
from goldherd.hooks import Hooks
from goldherd.settings import ServerSettings
from goldherd.target.sessions import Session

log = structlog.get_logger("goldherd.target")


@dataclass(slots=True)
class SilentNode:
    """A node whose last session fell silent."""

    target: str
    since: float
    """When it was last heard of."""
    due: float
    """When something is done about it next."""
    told: bool = False


@dataclass(slots=True)
class Silence:
    """The nodes of a server that have fallen silent.

    Args:
        settings: tells the settings as they are now.
        hooks: the plugins.
        in_use: tells whether a target has a session.
        exists: tells whether a target still exists.
        clock: seconds that only go on.
    """

    settings: Callable[[], ServerSettings]
    hooks: Hooks
    in_use: Callable[[str], bool]
    exists: Callable[[str], Awaitable[bool]]
    clock: Callable[[], float] = time.monotonic
    _silent: dict[str, SilentNode] = field(default_factory=dict)
    """By node."""
    _cycles: dict[str, deque[float]] = field(default_factory=dict)
    """By node: when its power was cycled, as far as that was in the last hour."""

    def note_end(self, session: Session, silent: bool) -> None:
        """A session has ended; `silent`: it answered pings before and did not any more."""
        if session.open_target is None or session.open_target.config.node is None:
            return
        if not silent:
            self._note_sign(session.open_target.config.node)
            return
        settings, now = self.settings(), self.clock()
        since = now - max(settings.ping_timeout_seconds, settings.ping_seconds)
        node = SilentNode(session.target, since, since + settings.silent_node_minutes * 60)
        self._silent.setdefault(session.open_target.config.node, node)

    def _note_sign(self, node: str) -> None:
        """The node has a session, or has had one."""
        found = self._silent.pop(node, None)
        if found is not None and found.told:
            log.info("a silent node is back", node=node, seconds=round(self.clock() - found.since))

    def describe(self) -> list[dict[str, Any]]:
        """The nodes that have been silent for the set time, for `goldherd status`."""
        now = self.clock()
        return [
            {"node": node, "seconds": round(now - found.since), "power_cycles": len(self._recent(node))}
            for node, found in sorted(self._silent.items())
            if found.told and not self.in_use(found.target)
        ]

    async def look(self) -> None:
        """Acts on the nodes that have been silent for long enough; call it every few seconds."""
        now, settings = self.clock(), self.settings()
        for node, found in list(self._silent.items()):
            if self.in_use(found.target):
                self._note_sign(node)
            elif now - found.since > limits.SILENT_KEPT_SECONDS:
                del self._silent[node]
            elif settings.silent_node_minutes and now >= found.due:
                found.due = now + settings.silent_node_minutes * 60
                await self._act(node, found, now)

    async def _act(self, node: str, found: SilentNode, now: float) -> None:
        if not await self.exists(found.target):
            self._silent.pop(node, None)
            return
        seconds = now - found.since
        if not found.told:
            found.told = True
            log.warning("a node is silent: it was up, and answers no ping", node=node, seconds=round(seconds))
            self.hooks.node_silent(node, seconds)
        allowed = self.settings().power_cycles_per_hour
        if not allowed:
            return
        recent = self._recent(node)
        if len(recent) >= allowed:
            log.error("a silent node is not power-cycled again within the hour", node=node, power_cycles=len(recent))
            return
        recent.append(now)
        try:
            done = await self.hooks.power_cycle(node)
        except GoldherdError as failure:
            log.error("a silent node could not be power-cycled", node=node, reason=str(failure))
            return
        if done is None:
            log.error("a silent node could not be power-cycled", node=node, reason="no plugin has power over it")
        else:
            log.warning("a silent node was power-cycled", node=node, success=done, power_cycles=len(recent))

    def _recent(self, node: str) -> deque[float]:
        """The times of the power cycles within the last hour."""
        times = self._cycles.setdefault(node, deque())
        while times and self.clock() - times[0] > limits.POWER_CYCLE_PERIOD_SECONDS:
            times.popleft()
        return times
