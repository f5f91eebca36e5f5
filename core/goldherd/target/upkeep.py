"""What is done for open disks every few seconds: written data is brought to the files, and the files are looked after.

A disk that hangs keeps its own upkeep waiting and no other's: a round goes on without it, and later rounds leave it out
until it has answered.
"""

import asyncio
from concurrent.futures import Executor
from functools import partial

import structlog

from goldherd.block.image import Image
from goldherd.limits import UPKEEP_PATIENCE_SECONDS
from goldherd.target.disks import Disks
from goldherd.target.open_targets import OpenTargets, files_of
from goldherd.target.sessions import OpenTarget

log = structlog.get_logger("goldherd.disks")


class Upkeep:
    """Looks after the disks of open targets.

    Args:
        targets: which are open.
        disks: knows which are shared golden images; these take no writes.
        executor: threads that may sleep.
    """

    def __init__(self, targets: OpenTargets, disks: Disks, executor: Executor) -> None:
        self._targets, self._disks, self._executor = targets, disks, executor
        self._under_way: dict[str, asyncio.Task[None]] = {}
        """By target; a disk that hangs has its task here until it answers."""

    async def run(self) -> None:
        """One round over all open targets."""
        for target in self._targets.all():
            name = target.config.name
            if name in self._under_way:
                continue
            task = asyncio.get_running_loop().create_task(self._look_after(target))
            self._under_way[name] = task
            task.add_done_callback(partial(self._over, name))
            await asyncio.wait((task,), timeout=UPKEEP_PATIENCE_SECONDS)

    def _over(self, name: str, done: asyncio.Task[None]) -> None:
        del self._under_way[name]
        if not done.cancelled() and (failure := done.exception()) is not None:
            log.error("an open disk could not be looked after", target=name, exc_info=failure)

    async def _look_after(self, target: OpenTarget) -> None:
        loop = asyncio.get_running_loop()
        async with self._targets.lock(target.config.name):
            if self._targets.get(target.config.name) is not target:
                return
            for image in target.images:
                if not self._disks.is_shared(image):
                    await loop.run_in_executor(self._executor, flush, image)
            self._targets.notice_failures(target)
            now = await loop.run_in_executor(self._executor, files_of, target.config)
        lost = [location for location, file in target.files.items() if now.get(location) != file]
        for location in set(lost) - set(target.lost):
            log.error(
                "the file of an open disk was removed or replaced: what the machine writes is lost when it logs out",
                target=target.config.name,
                path=location,
            )
        target.lost = lost


def flush(image: Image) -> None:
    """Brings what was written to the disk, so that a crash costs little even with guests that never flush."""
    try:
        if image.sync_failure is None:  # a failed disk has been told of, and is not flushed any more
            image.synchronize()
        image.refresh()
    except (Exception, SystemExit) as failure:  # of a backend
        log.error("a disk could not be flushed", path=image.path, reason=str(failure))
