"""Opens and closes the targets of a server, and tells which are open.

A target is opened by its first login and closed some seconds after its last session has gone, so that the two
sessions of a boot (loader, operating system) find the same disk. What must outlive that (persistent reservations,
which initiator ports were met before) is carried over.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import structlog

from goldherd.block.identity import disk_identity
from goldherd.block.image import Image
from goldherd.errors import ProtocolError
from goldherd.files.whole import WholeFile
from goldherd.model.targets import LunConfig, TargetConfig
from goldherd.negotiation.states import Status
from goldherd.scsi.fastpath.unit import HotUnit
from goldherd.scsi.state.device import LogicalUnit, PersistentState, Target
from goldherd.target.disks import Disks
from goldherd.target.sessions import OpenTarget, OpenUnit

log = structlog.get_logger("goldherd.model.targets")


class OpenTargets:
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
        self._open: dict[str, OpenTarget] = {}
        self._changing: dict[str, TargetConfig] = {}
        """Those whose disks are being opened or closed now."""
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.remembered: dict[tuple[str, int], PersistentState] = {}
        """By target and LUN, of every target that was ever open: no port may be met for the first time twice."""
        self._lingering: dict[str, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def lock(self, name: str) -> asyncio.Lock:
        """The lock that a login or timer holds while it opens, closes or resets the target of that name."""
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

    def get(self, name: str) -> OpenTarget | None:
        """The target, if it is open."""
        return self._open.get(name)

    def all(self) -> list[OpenTarget]:
        """All open targets."""
        return list(self._open.values())

    # --- what other threads ask (model.targets.Live) ---

    def open_nodes(self) -> frozenset[str]:
        """The nodes whose disks are open."""
        return frozenset(config.node for config in self._configs() if config.node is not None)

    def open_files(self) -> frozenset[Path]:
        """The disks that are open, and the golden images that these lie on."""
        files = (file for config in self._configs() for lun in config.luns for file in (lun.path, lun.parent))
        return frozenset(file for file in files if file is not None)

    def readers(self) -> dict[Path, list[str]]:
        """The golden images that open disks lie on, each with its nodes; a disk of no node counts by its target."""
        found: dict[Path, list[str]] = {}
        for config in self._configs():
            for file in {lun.parent for lun in config.luns if lun.parent is not None}:
                found.setdefault(file, []).append(config.node or config.name)
        return found

    def _configs(self) -> list[TargetConfig]:
        """The targets whose disks are open, or are being opened or closed now."""
        return [*self._changing.copy().values(), *(target.config for target in self.all())]

    # --- opening and closing ---

    async def open(self, config: TargetConfig, *, publish: bool = True) -> OpenTarget:
        """The target with its disks open; hold its lock. ImageError when a disk can't be had.

        `publish`: whether the data plane gets its prebuilt answers, which is most of the work; else publish() follows,
        and no line in the log tells of each target.
        """
        self._stop_lingering(config.name)
        target = self._open.get(config.name)
        if target is not None and target.idle and (target.config != config or target.lost):
            await self.close(target)
            target = None
        if target is None:
            loop = asyncio.get_running_loop()
            made: list[LunConfig] = []
            self._changing[config.name] = config
            try:
                found = await loop.run_in_executor(self._executor, self._open_files, config, made)
                images, identities, files = found
                target = self._make(config, images, identities)
                target.made, target.files = made, files
                self._open[config.name] = target
            finally:
                del self._changing[config.name]
            if publish:
                self.publish(target)
                log.info("a target was opened", target=config.name, luns=len(images))
        return target

    @staticmethod
    def publish(target: OpenTarget) -> None:
        """The data plane answers by itself what never changes, from now on; until then it asks the control plane."""
        for each in target.units.values():  # REPORT LUNS is among the answers: all units are there
            each.unit.on_change = each.publish
            each.publish()

    async def renew(self, config: TargetConfig) -> None:
        """Gives a closed target's node a fresh overlay; hold its lock."""
        if self._reset is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._reset, config)
            for lun in config.luns:
                self._disks.forget_failure(lun.location)

    async def undo(self, target: OpenTarget) -> None:
        """Closes a target that should not have been opened, without the overlays that this has made; hold its lock."""
        await self.close(target)
        if target.made:
            await self.renew(replace(target.config, luns=tuple(target.made)))

    def _open_files(
        self, config: TargetConfig, made: list[LunConfig]
    ) -> tuple[list[Image], list[str], dict[str, tuple[int, int]]]:
        """The disks, what their SCSI names are made from, and which files they are."""
        images = self._open_images(config, made)
        try:
            return images, _identities(config), files_of(config)
        except BaseException:
            for image in images:
                self.close_image(image)
            raise

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
                self.close_image(image)
            raise
        return images

    def _make(self, config: TargetConfig, images: list[Image], identities: list[str]) -> OpenTarget:
        target = Target(config.name, self._portal_groups)
        units: dict[int, OpenUnit] = {}
        for lun, image, identity in zip(config.luns, images, identities, strict=True):
            unit = LogicalUnit(
                image,
                lun=lun.lun,
                target=target,
                block_size=lun.block_size,
                physical_block_size=lun.physical_block_size,
                thin=lun.thin and self._disks.discards(image),
                read_only=lun.read_only or (lun.sealed and lun.parent is None),
                removable=lun.removable,
                identity=identity,
                reservation_store=self._reservation_store(config.name, lun.lun),
            )
            before = self.remembered.get((config.name, lun.lun))
            if before is not None:
                unit.take_over(before)
            units[lun.lun] = OpenUnit(unit, HotUnit(image, lun.block_size))
        for each in units.values():
            each.unit.medium.on_watch = each.hot.watch
        opened = OpenTarget(config, target, images, units)
        self.notice_failures(opened)
        return opened

    def notice_failures(self, target: OpenTarget) -> None:
        """Looks for disks that have failed; each failure is told once. May be called on any thread."""
        for lun, unit in target.units.items():
            failure = unit.notice_failure()
            if failure is not None:
                location = target.config.lun(lun).location
                self._disks.remember_failure(location, failure)
                log.error(
                    "a disk is write protected until it has been checked",
                    target=target.config.name,
                    node=target.config.node,
                    lun=lun,
                    path=location,
                    reason=str(failure),
                    survives_restart=failure.marked,
                )

    def failed_disks(self) -> list[dict[str, Any]]:
        """The open disks that have failed, for `goldherd status`."""
        return [
            {
                "node": target.config.node,
                "target": target.config.name,
                "lun": lun,
                "path": target.config.lun(lun).location,
                "reason": str(unit.unit.medium.image.sync_failure),
            }
            for target in self.all()
            for lun, unit in target.units.items()
            if unit.unit.medium.image.sync_failure is not None
        ]

    def _reservation_store(self, target: str, lun: int) -> WholeFile | None:
        """The file of a unit's persistent reservations; None: they end with the server."""
        return None if self._state is None else WholeFile(self._state / f"{target},{lun}.json")

    def release(self, target: OpenTarget) -> None:
        """A session of the target has ended; a target without sessions is closed after a while."""
        if target.sessions or self._linger_seconds is None or self._open.get(target.config.name) is not target:
            return
        loop = asyncio.get_running_loop()
        name = target.config.name
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
            target = self._open.get(name)
            if target is None or target.sessions:
                return
            if target.idle:
                await self.close(target)
            else:  # a command goes on without its session, SANITIZE perhaps
                self.release(target)

    async def open_again(self, target: OpenTarget) -> None:
        """Opens the disks of a target whose images were closed one by one, under its sessions; no reactor may run.

        Raises ImageError when one can't be had: then its unit must not be used any more.
        """
        loop = asyncio.get_running_loop()
        for place, config in enumerate(target.config.luns):
            image = target.images[place]
            if self._disks.is_shared(image):
                continue
            target.images[place] = await loop.run_in_executor(self._executor, self._disks.open, config)
            target.units[config.lun].exchange(target.images[place])
        self.notice_failures(target)

    async def close(self, target: OpenTarget) -> None:
        """Flushes and closes its disks; it must be idle."""
        name = target.config.name
        self._stop_lingering(name)
        self._changing[name] = target.config
        if self._open.get(name) is target:
            del self._open[name]
        for lun, unit in target.units.items():
            self.remembered[name, lun] = unit.unit.persistent_state
        loop = asyncio.get_running_loop()
        try:
            for image in target.images:
                await loop.run_in_executor(self._executor, self.close_image, image)
        finally:
            self.notice_failures(target)
            del self._changing[name]
        log.info("a target was closed", target=name)

    def use(self, executor: Executor) -> None:
        """Disks are opened and closed on these threads from now on."""
        self._executor = executor

    async def closings(self) -> None:
        """Waits until no target is being closed because its last session has gone."""
        while self._closing:
            await asyncio.wait(self._closing)

    def unclosed(self) -> list[TargetConfig]:
        """The targets whose disks are being opened or closed now."""
        return list(self._changing.values())

    def close_image(self, image: Image) -> None:
        """Flushes and closes one disk; may be called on any thread."""
        if self._disks.is_shared(image):  # a golden image stays in memory for the next reader
            return
        try:
            image.close()
        except (Exception, SystemExit) as failure:  # of a backend
            log.error("a disk could not be closed cleanly", path=image.path, reason=str(failure))


def _identities(config: TargetConfig) -> list[str]:
    """What the SCSI names of each LUN's disk are made from; one file under two LUNs counts as two disks."""
    found: list[str] = []
    for lun in config.luns:
        identity = lun.identity or disk_identity(lun.location)
        found.append(f"{identity},{lun.lun}" if identity in found else identity)
    return found


def files_of(config: TargetConfig) -> dict[str, tuple[int, int]]:
    """Location to device and inode of the disks that are files."""
    found = {}
    for lun in config.luns:
        with contextlib.suppress(OSError, ValueError):
            status = lun.path.stat()
            found[lun.location] = (status.st_dev, status.st_ino)
    return found
