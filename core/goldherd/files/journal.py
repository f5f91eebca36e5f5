"""The intent journal: a change of several files is done as a whole or not at all, even when its process is killed.

A change writes down what it is about to do with files, durably, before it does it. Its one point of decision lies
elsewhere: a record that is written in a transaction together with everything else that the change means. The
journal asks its owner whether that record is there (`committed`). If it is, the files that the change replaces and
removes are replaced and removed; if it is not, the files that it made are removed and permissions are given back.
The process that made the change does so at its end, and when it was killed, the next change does it in its stead.

    CHANGES/ID.intent    one JSON object per line, under a lock that dies with its process (flock(2))

Only listed files are ever touched. A file that another program has open when a dead change is cleared up is left.
"""

import fcntl
import json
import os
import secrets as randomness
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from goldherd.errors import ImageError
from goldherd.files.locks import open_locked
from goldherd.files.newfile import sync_folder

_SUFFIX: Final = ".intent"
Verb = Literal["make", "remove", "replace", "mode"]

log = structlog.get_logger("goldherd.files")


class Change:
    """One running change; each method returns when the intent is durable, so call it before the deed."""

    def __init__(self, identity: str, descriptor: int) -> None:
        self.id = identity
        """What the owner's record of the decision says."""
        self._descriptor = descriptor

    def make(self, paths: Iterable[Path]) -> None:
        """The change makes these files: they go again unless it is committed."""
        self._write({"do": "make", "path": str(path)} for path in paths)

    def remove(self, paths: Iterable[Path]) -> None:
        """The files go when the change is committed."""
        self._write({"do": "remove", "path": str(path)} for path in paths)

    def replace(self, pairs: Iterable[tuple[Path, Path]]) -> None:
        """(made file, file): the first takes the name of the second when the change is committed."""
        self._write({"do": "replace", "made": str(made), "path": str(path)} for made, path in pairs)

    def keep_mode(self, path: Path) -> None:
        """The file gets its present permissions back unless the change is committed."""
        status = path.stat()
        self._write([{"do": "mode", "path": str(path), "mode": status.st_mode & 0o7777, "inode": status.st_ino}])

    def _write(self, entries: Iterable[dict[str, Any]]) -> None:
        # JSON in ASCII: a path may hold any byte but NUL, newlines and bytes that aren't UTF-8 among them.
        text = "".join(f"{json.dumps(entry)}\n" for entry in entries)
        if not text:
            return
        view = memoryview(text.encode())
        while view:
            view = view[os.write(self._descriptor, view) :]
        os.fsync(self._descriptor)


class Journal:
    """The changes of one folder.

    Args:
        folder: where the intents lie.
        committed: whether the change of that id was decided.
    """

    def __init__(self, folder: Path, committed: Callable[[str], bool]) -> None:
        self._folder = folder
        self._committed = committed

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Runs a change; afterwards its files are as the decision says. Clears up after dead changes first."""
        identity = randomness.token_hex(8)
        listing = self._folder / f"{identity}{_SUFFIX}"
        with self._alone():
            self._sweep()
            descriptor = os.open(listing, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            sync_folder(self._folder)
            yield Change(identity, descriptor)
        finally:
            try:
                self._finish(listing, own=True)
            finally:
                os.close(descriptor)

    def sweep(self) -> None:
        """Clears up after changes whose process was killed."""
        with self._alone():
            self._sweep()

    def live(self) -> set[str]:
        """The ids of all changes that are not over: decisions about others may be forgotten."""
        return {path.stem for path in self._folder.glob(f"*{_SUFFIX}")}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with flocked(self._folder / "changes.lock"):
            yield

    def _sweep(self) -> None:
        for listing in self._folder.glob(f"*{_SUFFIX}"):
            try:
                descriptor = os.open(listing, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # its change ended just now
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_nlink:
                    self._finish(listing, own=False)
            except BlockingIOError:
                continue  # its process is alive
            finally:
                os.close(descriptor)

    def _finish(self, listing: Path, *, own: bool) -> None:
        # A last line without its newline was cut off by a crash: its deed was not begun.
        entries = [json.loads(line) for line in listing.read_text().split("\n")[:-1]]
        touched = _carry_out(entries, own) if self._committed(listing.stem) else _take_back(entries, own)
        for folder in touched:
            sync_folder(folder)
        listing.unlink()


@contextmanager
def flocked(path: Path) -> Iterator[None]:
    """Keeps other processes (and threads) out of everything else done under the same lock file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _carry_out(entries: list[dict[str, Any]], own: bool) -> set[Path]:
    """What a committed change still has to do with files; gives the folders it touched."""
    remove, replace = (_unlink, _replace) if own else (_unlink_if_free, _replace_if_free)
    touched = set()
    for entry in entries:
        path = Path(entry["path"])
        if entry["do"] == "remove":
            remove(path)
        elif entry["do"] == "replace":
            replace(Path(entry["made"]), path)
        else:
            continue
        touched.add(path.parent)
    return touched


def _take_back(entries: list[dict[str, Any]], own: bool) -> set[Path]:
    """Undoes what a change did that was never committed; gives the folders it touched."""
    unlink = _unlink if own else _unlink_if_free
    for entry in entries:
        if entry["do"] == "mode":
            path = Path(entry["path"])
            if path.exists() and path.stat().st_ino == entry["inode"]:
                path.chmod(entry["mode"])
    made = {Path(entry["path"]) for entry in entries if entry["do"] == "make"}
    folders = {path.parent for path in made}
    for folder in folders:
        for path in folder.iterdir():
            if path in made or _becomes(path) in made:
                unlink(path)
    return folders


def _becomes(path: Path) -> Path | None:
    """The file that a half-written ".NAME.RANDOM.new" was to become (newfile.py names files so)."""
    if path.suffix != ".new" or not path.name.startswith("."):
        return None
    return path.with_name(path.name[1:].removesuffix(".new").rpartition(".")[0] or path.name)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _replace(made: Path, path: Path) -> None:
    with suppress(FileNotFoundError):  # it has that name already
        made.replace(path)


def _unlink_if_free(path: Path) -> None:
    """Removes a file of a dead change, unless another program has it open by now."""
    if not path.exists() and not path.is_symlink():
        return
    try:
        descriptor = open_locked(path, "rw")
    except ImageError as error:
        log.warning("a file of a change that was cut off stays", path=str(path), reason=str(error))
        return
    try:
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _replace_if_free(made: Path, path: Path) -> None:
    """Replaces a file of a dead change, unless another program has it open by now: that keeps what it has."""
    if not made.exists():
        return
    _unlink_if_free(path)
    if path.exists():
        _unlink_if_free(made)
    else:
        made.rename(path)
