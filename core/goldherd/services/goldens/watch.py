"""The daemon's watch over golden files: a change is noticed within seconds, while machines run from the file.

A round costs one stat for each version; head and tail are read only where that shows a difference. A file that differs
from its seal is noted as changed in the catalog, so that every login after it is refused, by this daemon and the
next, until `image verify` has found all bytes right. A file that is not there or can't be read is told of, and used
again as soon as it is back.

Each folder is looked into by a thread of its own: one that hangs holds up no other, and is not asked again
before it has answered.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from goldherd.catalog.store import now
from goldherd.errors import ErrorKind, GoldherdError
from goldherd.limits import UPKEEP_END_SECONDS, WATCH_PATIENCE_SECONDS, WATCH_SECONDS, WATCH_THREADS_MAX
from goldherd.model.images import VersionRecord
from goldherd.services.context import Services
from goldherd.services.goldens.verifying import note_changed
from goldherd.services.images import list_versions
from goldherd.volumes.sealing import find_change

log = structlog.get_logger("goldherd.goldens")

FileKey = tuple[int, int, int, int, int]
"""Device, inode, size, modification and change time: a file with the same ones has not been touched."""

REPLACED = "another file has taken its place"
"""How a version was changed whose file is not the one that running machines read."""


class Readers(Protocol):
    """Knows which golden files are in use (model.targets.Live). May be asked on any thread."""

    def readers(self) -> Mapping[Path, Collection[str]]:
        """Golden file to the nodes whose disks lie on it now."""
        ...


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the file of a version."""

    version: VersionRecord
    kind: ErrorKind
    """CHANGED: no node gets it until it was found right; ABSENT: it can't be read now."""
    reason: str
    """A clause: "its size differs"."""
    since: str


class GoldenWatch:
    """Watches the golden files of a data folder.

    Args:
        services: the catalog in which a change is noted.
        live: tells who reads them.
        touched: told the name of a changed version whose file has been touched since, and is left alone now.
    """

    def __init__(self, services: Services, live: Readers, touched: Callable[[str], None]) -> None:
        self._services, self._live, self._touched = services, live, touched
        self._stop = threading.Event()
        self._looking: dict[Path, threading.Thread] = {}
        self._thread = threading.Thread(target=self._run, name="golden watch", daemon=True)
        self._below: dict[str, list[str]] = {}
        """Version to the versions that are its differencing children."""
        self._files: dict[str, Path] = {}
        self._faults: dict[str, Fault] = {}
        self._sound: dict[str, FileKey] = {}
        """Version to the file that was found to be as it was sealed."""
        self._used: dict[str, FileKey] = {}
        """Version to the file that machines read, while some do."""
        self._marked: dict[str, tuple[FileKey, bool]] = {}
        """Changed version to its file as it was last seen, and whether it was touched and not verified since."""

    def start(self) -> None:
        """Looks every WATCH_SECONDS from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Looks no more; a look that hangs is left to itself."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(UPKEEP_END_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except GoldherdError as failure:
                log.error("golden images could not be looked at", reason=str(failure))
            except Exception:
                log.exception("golden images could not be looked at")
            self._stop.wait(WATCH_SECONDS)

    def look(self) -> None:
        """One round over all versions; returns when each folder has answered, or its time is over."""
        versions = list_versions(self._services)
        used = self._used_versions(versions)
        self._forget_all_but({version.name for version in versions})
        self._files = {version.name: version.path for version in versions}
        self._below = {}
        folders: dict[Path, list[VersionRecord]] = {}
        for version in versions:
            folders.setdefault(version.path.parent, []).append(version)
            if version.parent is not None:
                self._below.setdefault(version.parent, []).append(version.name)
        for folder, group in folders.items():
            if folder not in self._looking and len(self._looking) < WATCH_THREADS_MAX:
                thread = threading.Thread(target=self._look_into, args=(folder, group, used), daemon=True)
                self._looking[folder] = thread
                thread.start()
        for folder, group in folders.items():
            thread_of_it = self._looking.get(folder)
            if thread_of_it is not None:
                thread_of_it.join(WATCH_PATIENCE_SECONDS)
                if thread_of_it.is_alive():
                    for version in group:
                        self._found(version, ErrorKind.ABSENT, "its file system does not answer")

    def _used_versions(self, versions: Sequence[VersionRecord]) -> frozenset[str]:
        """Those that machines read, their parents included."""
        files = self._live.readers()
        parents = {version.name: version.parent for version in versions}
        found = set[str]()
        for name in [version.name for version in versions if version.path in files]:
            each: str | None = name
            while each is not None and each not in found:
                found.add(each)
                each = parents.get(each)
        return frozenset(found)

    def _forget_all_but(self, names: set[str]) -> None:
        for known in (self._faults, self._sound, self._used, self._marked):
            for name in known.keys() - names:
                known.pop(name, None)

    def _look_into(self, folder: Path, versions: Iterable[VersionRecord], used: Collection[str]) -> None:
        try:
            for version in versions:
                self._look_at(version, used=version.name in used)
        except GoldherdError as failure:
            log.error("golden images could not be looked at", folder=str(folder), reason=str(failure))
        except Exception:
            log.exception("golden images could not be looked at", folder=str(folder))
        finally:
            self._looking.pop(folder, None)

    def _look_at(self, version: VersionRecord, *, used: bool) -> None:
        try:
            status = version.path.stat()
            key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            how = version.changed or self._change_of(version, key, used=used)
        except OSError as error:
            self._found(version, ErrorKind.ABSENT, f"its file can't be read: {error.strerror}")
            return
        if how is None:
            self._is_sound(version, key, used=used)
            return
        if version.changed is None:
            note_changed(self._services, version, how)
        self._found(version, ErrorKind.CHANGED, how, version.changed_at)
        self._watch_marked(version.name, key, new=version.changed is None)

    def _change_of(self, version: VersionRecord, key: FileKey, *, used: bool) -> str | None:
        if self._sound.get(version.name) == key:
            return None
        before = self._used.get(version.name) if used else None
        if before is not None and before[:2] != key[:2] and version.name not in self._marked:
            return REPLACED
        return find_change(version)

    def _watch_marked(self, name: str, key: FileKey, *, new: bool) -> None:
        """A file that was touched may be right, as after a restore: it is verified once it is left alone."""
        if name not in self._marked:
            self._marked[name] = (key, new)
            return
        before, touched = self._marked[name]
        if touched and before == key:
            self._touched(name)
            touched = False
        self._marked[name] = (key, touched or before != key)

    def _is_sound(self, version: VersionRecord, key: FileKey, *, used: bool) -> None:
        name = version.name
        self._sound[name] = key
        self._marked.pop(name, None)
        if used:
            self._used[name] = key
        else:
            self._used.pop(name, None)
        if self._faults.pop(name, None) is not None:
            log.info("a golden image is as it was sealed again", version=name, path=str(version.path))

    def _found(self, version: VersionRecord, kind: ErrorKind, reason: str, since: str | None = None) -> None:
        before = self._faults.get(version.name)
        if before is not None and before.kind is kind:
            return
        self._sound.pop(version.name, None)
        fault = Fault(version, kind, reason, since or now())
        self._faults[version.name] = fault
        log.error(
            "a golden image was changed: no node can log in to a disk on it until it was verified"
            if kind is ErrorKind.CHANGED
            else "a golden image can't be read",
            version=version.name,
            path=str(version.path),
            reason=reason,
            nodes=self._nodes_on(version.name),
        )

    def _nodes_on(self, name: str) -> list[str]:
        """The nodes that read from a version now, through its differencing children as well."""
        readers = self._live.readers()
        names, nodes = [name], set[str]()
        while names:
            each = names.pop()
            nodes.update(readers.get(self._files.get(each, Path()), ()))
            names += self._below.get(each, [])
        return sorted(nodes)

    def status(self) -> list[dict[str, Any]]:
        """What is wrong with which golden files, and the nodes that read from them now; for `goldherd status`."""
        faults = sorted(self._faults.copy().values(), key=lambda fault: fault.version.name)
        return [
            {
                "version": fault.version.name,
                "path": str(fault.version.path),
                "kind": str(fault.kind),
                "reason": fault.reason,
                "since": fault.since,
                "nodes": self._nodes_on(fault.version.name),
            }
            for fault in faults
        ]
