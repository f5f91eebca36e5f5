"""The end of a server, within the seconds that its settings give, whatever its clients and its disks do.

Theory of operation. Clients are asked to log out, and all disks begin to be flushed in the same moment, each on a
thread of its own: a disk that hangs holds its thread and nothing else. When the clients' time is over, their sessions
end, and each disk that is free is flushed once more and closed. A disk that has not answered by the deadline is left as
it is, and the log names it.

A disk that is left behind loses nothing that was promised: docs/running.md, "Stopping", tells why.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

import structlog

from goldherd import limits
from goldherd.block.workers import Workers
from goldherd.hooks import Hooks
from goldherd.reactor.epoll import Reactor
from goldherd.session.codes import PduFlag
from goldherd.settings import ServerSettings
from goldherd.target.disks import Disks
from goldherd.target.login.logins import Logins
from goldherd.target.open_targets import OpenTargets
from goldherd.target.sessions import OpenTarget, Session, Sessions
from goldherd.target.upkeep import flush
from goldherd.wire import header
from goldherd.wire.opcodes import AsyncEvent

log = structlog.get_logger("goldherd.target")

_SESSIONS_SHARE: Final = 0.3
"""Of the disks' time: how long ended sessions may take until no I/O of them is under way."""
_CLOSING_SHARE: Final = 0.5
"""Of the disks' time: how long disks may then take; the rest is left for threads and plugins."""


def own_threads() -> Workers:
    """A thread for each job that is under way: none waits for one of the server's own, which a disk may hold."""
    return Workers(limits.STOP_THREADS_MAX, limits.STOP_THREADS_MAX)


@dataclass(slots=True)
class Stopping:
    """What it needs of the server.

    Args:
        executor: the control plane's threads; a disk that hangs may hold some of them.
        hurried: set when the clients are not waited for any longer.
    """

    settings: ServerSettings
    logins: Logins
    sessions: Sessions
    targets: OpenTargets
    disks: Disks
    hooks: Hooks
    reactors: Sequence[Reactor]
    executor: Executor
    hurried: asyncio.Event

    async def end_sessions_and_disks(self) -> bool:
        """Ends sessions, flushes and closes disks; whether all of them are closed. Listening has ended before."""
        loop = asyncio.get_running_loop()
        threads = own_threads()
        self.targets.use(threads)
        flushes = {target: loop.create_task(self._flush(target, threads)) for target in self.targets.all()}
        await self.logins.close(min(self.settings.shutdown_seconds, limits.CLOSE_SECONDS))
        asked = [session for session in self.sessions if session.open_target is not None and not session.by_loader]
        for session in asked:
            self._ask_to_leave(session)
        await self._wait_for_logouts(asked)
        for session in self.sessions:
            session.end("the server stopped")
        seconds = self.settings.shutdown_flush_seconds
        await _wait([session.closed.wait() for session in self.sessions], seconds * _SESSIONS_SHARE)
        closings = [self._close(target, flushes.get(target)) for target in self.targets.all()]
        await _wait([*closings, self.targets.closings()], seconds * _CLOSING_SHARE)
        return self._tell_what_is_left()

    async def end_threads(self, whole: bool) -> bool:
        """Ends reactors, golden images and plugins' notifications; `whole`: no disk over a golden image is open.

        Returns: whether no image is open any more.
        """
        loop = asyncio.get_running_loop()
        threads = own_threads()
        seconds = self.settings.shutdown_flush_seconds * (1 - _SESSIONS_SHARE - _CLOSING_SHARE) / 2
        if self.settings.reactors:
            reactors = [loop.run_in_executor(threads, reactor.stop) for reactor in self.reactors]
            await _wait(reactors, max(seconds, limits.TICK_MILLISECONDS / 1000))
        if whole:  # a disk that is still open reads from its parent
            whole = await _wait([loop.run_in_executor(threads, self.disks.close)], seconds)
        last = (self.hooks.settle, self.executor.shutdown)
        await _wait([loop.run_in_executor(threads, work) for work in last], seconds)
        return whole

    async def _flush(self, target: OpenTarget, threads: Executor) -> None:
        """Brings to the disk what is written by now, while the clients log out: less is left for the end.

        Its lock keeps a target that nobody uses any more from being closed meanwhile.
        """
        loop = asyncio.get_running_loop()
        async with self.targets.lock(target.config.name):
            if self.targets.get(target.config.name) is target:
                for image in target.images:
                    if not self.disks.is_shared(image):
                        await loop.run_in_executor(threads, flush, image)

    async def _close(self, target: OpenTarget, flushed: asyncio.Task[None] | None) -> None:
        """Flushes and closes the disks of a target when nothing uses them any more."""
        if (
            flushed is not None
        ):  # and goes on, though this may be given up: the lock is held as long as the disk is used
            await asyncio.shield(flushed)
        async with self.targets.lock(target.config.name):
            if self.targets.get(target.config.name) is target and target.idle:
                await self.targets.close(target)

    def _tell_what_is_left(self) -> bool:
        """Whether nothing is open. Closings that were given up a moment ago still count as under way."""
        left = [*self.targets.unclosed(), *(target.config for target in self.targets.all())]
        for config in left:
            log.error(
                "a disk was not flushed: it did not answer in time, and is left as it is",
                target=config.name,
                node=config.node,
                paths=[lun.location for lun in config.luns],
            )
        return not left

    def _ask_to_leave(self, session: Session) -> None:
        # The target asks for a logout within Parameter3 seconds (RFC 7143 11.9.1).
        seconds = int(self.settings.shutdown_seconds)
        message = header.pdu(header.AsyncMessage(event=AsyncEvent.EVENT_LOGOUT_REQUESTED, parameter3=seconds))
        for connection in session.connections:  # "on the same connection as the one being requested to be logged out"
            session.reactor.send_pdu(session.id, message, PduFlag.PDU_TAKES_STAT_SN, connection=connection)

    async def _wait_for_logouts(self, sessions: Sequence[Session]) -> None:
        """Until the sessions have ended, their time is over, or the server is hurried."""

        async def all_gone() -> None:
            for session in sessions:
                await session.closed.wait()

        works = [asyncio.ensure_future(all_gone()), asyncio.ensure_future(self.hurried.wait())]
        try:
            seconds = self.settings.shutdown_seconds
            await asyncio.wait(works, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for work in works:
                work.cancel()


async def _wait(works: Sequence[Any], seconds: float) -> bool:
    """Waits for coroutines and futures, so long at most; whether all of them have ended well.

    A work that is late is given up; one that failed has said why, or is told here.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    if not tasks:
        return True
    done, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    failures = [failure for task in done if not task.cancelled() and (failure := task.exception()) is not None]
    for failure in failures:
        log.error("a part of the server could not be ended", exc_info=failure)
    return not late and not failures
