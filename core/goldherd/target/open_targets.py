"""A target in use: its disks open, its logical units ready for reactors and for Python.

A target is opened by its first login and closed some seconds after its last session has gone, so that the two
sessions of a boot (loader, operating system) find the same disk. What must outlive that (persistent reservations,
which initiator ports were met before) is carried over.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import structlog

from goldherd.block.image import Image
from goldherd.errors import ProtocolError
from goldherd.model.targets import LunConfig, TargetConfig
from goldherd.negotiation.states import Status
from goldherd.scsi.fastpath.unit import HotUnit
from goldherd.scsi.prebuilt import prebuilt
from goldherd.scsi.state.device import LogicalUnit, PersistentState, Target
from goldherd.target.disks import Disks

if TYPE_CHECKING:
    from goldherd.target.sessions import Session

log = structlog.get_logger("goldherd.model.targets")


@dataclass(eq=False)
class LiveUnit:
    """One logical unit in both shapes: with everything it means for Python, and what reactors read."""

    unit: LogicalUnit
    hot: HotUnit
    exclusive: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by a command that must run alone."""

    def publish(self) -> None:
        """Makes the prebuilt answers again; may be called on any thread."""
        self.hot.publish(prebuilt(self.unit))


@dataclass(eq=False)
class LiveTarget:
    """A target whose disks are open."""

    config: TargetConfig
    target: Target
    images: list[Image]
    units: dict[int, LiveUnit]
    sessions: "set[Session]" = field(default_factory=set)
    made: list[LunConfig] = field(default_factory=list)
    """The LUNs whose overlays were made when it was opened."""
    working: int = 0
    """Commands that Python carries out on its disks now; some go on when their session has ended."""

    @property
    def idle(self) -> bool:
        """Whether nobody uses its disks, so that they may be closed."""
        return not self.sessions and not self.working


class LiveTargets:
    """Opens and closes targets; one login at a time per target, different targets side by side (model.targets.Live).

    Args:
        disks: opens their images.
        executor: threads that may sleep.
        linger_seconds: how long a target stays open without a session; None: until close().
        state: the folder of persistent reservations (APTPL); None: they end with the server.
        reset: makes a node's overlay new; called on a thread, when the target is closed.
        portal_groups: the tags of the portal groups, each a port of every target.
    """

    def __init__(
        self,
        disks: Disks,
        executor: Executor,
        linger_seconds: float | None,
        state: Path | None = None,
        reset: Callable[[TargetConfig], None] | None = None,
        portal_groups: Sequence[int] = (1,),
    ) -> None:
        self._disks = disks
        self._portal_groups = portal_groups
        self._executor = executor
        self._linger_seconds = linger_seconds
        self._state = state
        self._reset = reset
        self._live: dict[str, LiveTarget] = {}
        self._changing: dict[str, TargetConfig] = {}
        """Those whose disks are being opened or closed now."""
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._remembered: dict[tuple[str, int], PersistentState] = {}
        """By target and LUN, of every target that was ever open: no port may be met for the first time twice."""
        self._lingering: dict[str, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def lock(self, name: str) -> asyncio.Lock:
        """Whoever opens, closes or resets the target of that name holds it."""
        return self._locks.setdefault(name, asyncio.Lock())

    @asynccontextmanager
    async def held(self, name: str, seconds: float) -> AsyncIterator[None]:
        """The lock of that name, waited for so long at most.

        Raises ProtocolError (service unavailable): a disk that hangs must not make its logins pile up.
        """
        lock = self.lock(name)
        try:
            async with asyncio.timeout(seconds):
                await lock.acquire()
        except TimeoutError:
            raise ProtocolError(
                f"The disks of {name} were not free within {seconds:g} s: an earlier login still waits for them.",
                login_status=Status.SERVICE_UNAVAILABLE,
            ) from None
        try:
            yield
        finally:
            lock.release()

    def get(self, name: str) -> LiveTarget | None:
        """The target, if it is open."""
        return self._live.get(name)

    def all(self) -> list[LiveTarget]:
        """All open targets."""
        return list(self._live.values())

    # --- what other threads ask (model.targets.Live) ---

    def open_nodes(self) -> frozenset[str]:
        """The nodes whose disks are open."""
        return frozenset(config.node for config in self._configs() if config.node is not None)

    def open_files(self) -> frozenset[Path]:
        """The disks that are open, and the golden images that these lie on."""
        files = (file for config in self._configs() for lun in config.luns for file in (lun.path, lun.parent))
        return frozenset(file for file in files if file is not None)

    def _configs(self) -> list[TargetConfig]:
        """The targets whose disks are open, or are being opened or closed now."""
        return [*self._changing.copy().values(), *(live.config for live in self.all())]

    # --- opening and closing ---

    async def open(self, config: TargetConfig) -> LiveTarget:
        """The target with its disks open; hold its lock. ImageError when a disk can't be had."""
        self._stop_lingering(config.name)
        live = self._live.get(config.name)
        if live is not None and live.config != config and live.idle:
            await self.close(live)
            live = None
        if live is None:
            loop = asyncio.get_running_loop()
            made: list[LunConfig] = []
            self._changing[config.name] = config
            try:
                images = await loop.run_in_executor(self._executor, self._open_images, config, made)
                live = self._make(config, images)
                live.made = made
                self._live[config.name] = live
            finally:
                del self._changing[config.name]
            log.info("a target was opened", target=config.name, luns=len(images))
        return live

    async def renew(self, config: TargetConfig) -> None:
        """Gives a closed target's node a fresh overlay; hold its lock."""
        if self._reset is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._reset, config)

    async def undo(self, live: LiveTarget) -> None:
        """Closes a target that should not have been opened, without the overlays that this has made; hold its lock."""
        await self.close(live)
        if live.made:
            await self.renew(replace(live.config, luns=tuple(live.made)))

    def _open_images(self, config: TargetConfig, made: list[LunConfig]) -> list[Image]:
        images: list[Image] = []
        try:
            for lun in config.luns:
                absent = lun.create and not lun.path.exists()
                images.append(self._disks.open(lun))
                if absent:
                    made.append(lun)
        except BaseException:
            for image in images:
                self._close_image(image)
            raise
        return images

    def _make(self, config: TargetConfig, images: list[Image]) -> LiveTarget:
        target = Target(config.name, self._portal_groups)
        units: dict[int, LiveUnit] = {}
        for lun, image in zip(config.luns, images, strict=True):
            unit = LogicalUnit(
                image,
                lun=lun.lun,
                target=target,
                block_size=lun.block_size,
                physical_block_size=lun.physical_block_size,
                thin=lun.thin,
                read_only=lun.read_only or (lun.sealed and lun.parent is None),
                removable=lun.removable,
                identity=lun.identity or f"{config.name},{lun.lun}",
                persist_path=self._state / f"{config.name},{lun.lun}.json" if self._state is not None else None,
            )
            before = self._remembered.get((config.name, lun.lun))
            if before is not None:
                unit.take_over(before)
            units[lun.lun] = LiveUnit(unit, HotUnit(image, lun.block_size))
        for live in units.values():  # REPORT LUNS is among the answers: all units must be there first
            live.publish()
            live.unit.on_change = live.publish
            live.unit.medium.on_watch = live.hot.watch
        return LiveTarget(config, target, images, units)

    def release(self, live: LiveTarget) -> None:
        """A session of the target has gone; without others it is closed after a while."""
        if live.sessions or self._linger_seconds is None or self._live.get(live.config.name) is not live:
            return
        loop = asyncio.get_running_loop()
        name = live.config.name
        self._stop_lingering(name)
        self._lingering[name] = loop.call_later(self._linger_seconds, self._start_closing, name)

    def _start_closing(self, name: str) -> None:
        task = asyncio.get_running_loop().create_task(self._close_if_idle(name))
        self._closing.add(task)  # the loop itself would not keep it
        task.add_done_callback(self._closing.discard)

    def _stop_lingering(self, name: str) -> None:
        handle = self._lingering.pop(name, None)
        if handle is not None:
            handle.cancel()

    async def _close_if_idle(self, name: str) -> None:
        async with self.lock(name):
            live = self._live.get(name)
            if live is None or live.sessions:
                return
            if live.idle:
                await self.close(live)
            else:  # a command goes on without its session, SANITIZE perhaps
                self.release(live)

    async def close(self, live: LiveTarget) -> None:
        """Flushes and closes its disks; it must be idle."""
        name = live.config.name
        self._stop_lingering(name)
        self._changing[name] = live.config
        if self._live.get(name) is live:
            del self._live[name]
        for lun, unit in live.units.items():
            self._remembered[name, lun] = unit.unit.persistent_state
        loop = asyncio.get_running_loop()
        try:
            for image in live.images:
                await loop.run_in_executor(self._executor, self._close_image, image)
        finally:
            del self._changing[name]
        log.info("a target was closed", target=name)

    async def close_all(self) -> None:
        """Closes every target, for the end of a server; one whose I/O does not end is left as it is."""
        while self._closing:
            await asyncio.wait(self._closing)
        for live in self.all():
            name = live.config.name
            async with self.lock(name):
                if self._live.get(name) is not live:
                    continue
                if live.idle:
                    await self.close(live)
                else:
                    log.error("a disk is left as it is: I/O on it does not end", target=name)

    def _close_image(self, image: Image) -> None:
        if self._disks.is_shared(image):  # a golden image stays in memory for the next reader
            return
        try:
            image.close()
        except Exception as failure:
            log.error("a disk could not be closed cleanly", path=image.path, reason=str(failure))

    async def flush(self) -> None:
        """Brings what was written to the disks, so that a crash costs little even with guests that never flush."""
        loop = asyncio.get_running_loop()
        for live in self.all():
            async with self.lock(live.config.name):
                for image in live.images if self.get(live.config.name) is live else ():
                    if not self._disks.is_shared(image):
                        await loop.run_in_executor(self._executor, self._flush_image, image)

    @staticmethod
    def _flush_image(image: Image) -> None:
        try:
            image.flush()
            image.refresh()
        except Exception as failure:
            log.error("a disk could not be flushed", path=image.path, reason=str(failure))
