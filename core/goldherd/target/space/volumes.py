"""The space of the file systems on which disks lie: asked every few seconds, told when it runs short.

Each file system is asked on a thread of its own, because statvfs(2) waits as long as a server or device below hangs.
One that has not answered is not asked again until it has.
"""

import asyncio
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import structlog

from goldherd import limits
from goldherd.files.space import allocated_bytes
from goldherd.scsi.state.space import UnitSpace
from goldherd.settings import Share
from goldherd.target.open_targets import OpenTargets
from goldherd.target.sessions import OpenUnit

log = structlog.get_logger("goldherd.space")

Level = Literal["ok", "soft", "hard"]
_ORDER: Final[tuple[Level, ...]] = ("ok", "soft", "hard")


class _Answer(NamedTuple):
    """What a file system said."""

    device: int
    total_bytes: int
    free_bytes: int
    used_bytes: dict[str, int]
    """Allocated to each of the files asked about."""


@dataclass
class Volume:
    """One file system, as it answered last."""

    path: str
    """A place on it, for people."""
    total_bytes: int
    free_bytes: int
    level: Level = "ok"


class Volumes:
    """Watches the file systems of open disks, and those of folders.

    Args:
        targets: which disks are open.
        soft: free space below which people and initiators are warned.
        hard: free space below which it is an error in the log.
    """

    def __init__(self, targets: OpenTargets, soft: Share, hard: Share) -> None:
        self._targets, self._soft, self._hard = targets, soft, hard
        self.folders: tuple[Path, ...] = ()
        """Watched though no disk may be open there."""
        self.used_bytes: dict[str, int] = {}
        """The space that the files of open disks take, by location."""
        self._asked: dict[Path | int, threading.Thread] = {}
        """By folder, or by the device of open disks: who asks now."""
        self._volumes: dict[int, Volume] = {}

    async def look(self) -> None:
        """Asks all that have answered the last time."""
        places: dict[Path | int, tuple[str, list[str]]] = {folder: (str(folder), []) for folder in self.folders}
        for target in self._targets.all():
            for location, (device, _) in target.files.items():
                places.setdefault(device, (str(Path(location).parent), []))[1].append(location)
        open_files = {file for _, files in places.values() for file in files}
        self.used_bytes = {file: used for file, used in self.used_bytes.items() if file in open_files}
        loop = asyncio.get_running_loop()
        self._asked = {place: thread for place, thread in self._asked.items() if thread.is_alive()}
        paths = {path for path, _ in places.values()}
        self._volumes = {device: volume for device, volume in self._volumes.items() if volume.path in paths}
        for place, (path, files) in places.items():
            if place in self._asked or len(self._asked) >= limits.VOLUMES_ASKED_MAX:
                continue

            def ask(path: str = path, files: list[str] = files) -> None:
                answer = _ask(path, files)
                if answer is not None and not loop.is_closed():
                    loop.call_soon_threadsafe(self._note, path, answer)

            thread = threading.Thread(target=ask, name="space", daemon=True)
            self._asked[place] = thread
            thread.start()

    def _note(self, path: str, answer: _Answer) -> None:
        volume = self._volumes.setdefault(answer.device, Volume(path, answer.total_bytes, answer.free_bytes))
        volume.total_bytes, volume.free_bytes = answer.total_bytes, answer.free_bytes
        soft_bytes, hard_bytes = self._soft.of(answer.total_bytes), self._hard.of(answer.total_bytes)
        before, volume.level = volume.level, level_of(volume, soft_bytes, hard_bytes)
        facts = {"path": path, "free_bytes": volume.free_bytes, "total_bytes": volume.total_bytes}
        if _ORDER.index(volume.level) > _ORDER.index(before):
            tell = log.error if volume.level == "hard" else log.warning
            tell("a file system of disks runs out of space", threshold=volume.level, **facts)
        elif volume.level == "ok" != before:
            log.warning("a file system of disks has space again", **facts)
        self.used_bytes.update(answer.used_bytes)
        reached = before == "ok" != volume.level
        for location, unit in self._units_on(answer.device):
            space = UnitSpace(answer.free_bytes, answer.used_bytes.get(location, 0), soft_bytes)
            unit.unit.note_space(space, reached=reached)

    def _units_on(self, device: int) -> Iterable[tuple[str, OpenUnit]]:
        for target in self._targets.all():
            for lun, unit in target.units.items():
                location = target.config.lun(lun).location
                if target.files.get(location, (None, 0))[0] == device:
                    yield location, unit

    def describe(self) -> list[dict[str, Any]]:
        """The file systems, for `goldherd status`."""
        return [
            {
                "path": volume.path,
                "total_bytes": volume.total_bytes,
                "free_bytes": volume.free_bytes,
                "threshold": volume.level,
            }
            for volume in self._volumes.values()
        ]


def _ask(path: str, files: list[str]) -> _Answer | None:
    """The file system that a path lies on; None when the path is gone. May take as long as a disk hangs."""
    try:
        place = Path(files[0] if files else path)
        device = place.stat().st_dev
        space = os.statvfs(place)
        used = {file: allocated_bytes(Path(file)) for file in files}
    except OSError as error:
        log.debug("a file system could not be asked for its space", path=path, reason=error.strerror)
        return None
    return _Answer(device, space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize, used)


def level_of(volume: Volume, soft_bytes: int, hard_bytes: int) -> Level:
    """How short of space a file system is. It leaves a level a percent of its size above where it came in."""
    spare = volume.total_bytes // 100
    bounds: tuple[tuple[Level, int], ...] = (("hard", hard_bytes), ("soft", soft_bytes))
    for level, bound in bounds:
        reached = _ORDER.index(volume.level) >= _ORDER.index(level)
        if volume.free_bytes < bound + (spare if reached else 0):
            return level
    return "ok"
