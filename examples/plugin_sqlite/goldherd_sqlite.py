"""Disks as blobs in a SQLite database: goldherd export lab.sqlite

A whole, writable format in plain Python: it makes disks and differencing children, gives discarded space back, resizes,
makes snapshots, and checks a file. One row per block of 64 KiB; a block that was never written has none.
"""

import sqlite3
import threading
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from goldherd import Capabilities, Format, Image, Opener, Place, hookimpl
from goldherd.errors import ImageError, StorageFullError
from goldherd.files.newfile import new_file

BLOCK_BYTES = 65536
ZEROS = bytes(BLOCK_BYTES)
APPLICATION_ID = 0x676F6C64
"""Says whose database a file is: 4 bytes at offset 68 of the file."""
SCHEMA = f"""
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA auto_vacuum = FULL;
    CREATE TABLE disk (size_bytes INTEGER, identity TEXT, parent_format TEXT, parent TEXT);
    CREATE TABLE blocks (number INTEGER PRIMARY KEY, data BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class SqliteOptions:
    """What may be said when a disk is opened: goldherd export lab.sqlite,wait-seconds=30"""

    wait_seconds: float = 5
    """How long to wait while another program uses the database."""


class SqliteImage(Image):
    """One disk. goldherd calls it on several threads at a time: the lock keeps one statement at a time.

    Everything since the last flush is one transaction: a crash loses that, and never half a block.
    """

    def __init__(self, path: str, mode: str, options: SqliteOptions, parent: Image | None = None) -> None:
        self._lock = threading.Lock()
        self._database = _connect(path, mode, options.wait_seconds)
        self._parent = parent
        super().__init__(_facts(self._database, path).size_bytes, read_only=mode != "rw", path=path)

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        done = 0
        with self._lock:
            while done < len(target):
                number, inside = divmod(offset_bytes + done, BLOCK_BYTES)
                count = min(BLOCK_BYTES - inside, len(target) - done)
                target[done : done + count] = self._block(number)[inside : inside + count]
                done += count

    def write(self, offset_bytes: int, data: memoryview) -> None:
        self._refuse_if_read_only()
        done = 0
        with self._lock:
            while done < len(data):
                number, inside = divmod(offset_bytes + done, BLOCK_BYTES)
                count = min(BLOCK_BYTES - inside, len(data) - done)
                block = bytes(data[done : done + count])
                if count < BLOCK_BYTES:
                    old = self._block(number)
                    block = old[:inside] + block + old[inside + count :]
                self._run("INSERT OR REPLACE INTO blocks VALUES (?, ?)", number, block)
                done += count

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self._refuse_if_read_only()
        end = offset_bytes + length_bytes
        first, last = -(-offset_bytes // BLOCK_BYTES), end // BLOCK_BYTES
        if self._parent is not None or first >= last:  # a block that is gone would show the parent's bytes again
            super().discard(offset_bytes, length_bytes)
            return
        with self._lock:
            self._run("DELETE FROM blocks WHERE number >= ? AND number < ?", first, last)
        for begin, stop in ((offset_bytes, first * BLOCK_BYTES), (last * BLOCK_BYTES, end)):
            if begin < stop:
                super().discard(begin, stop - begin)

    def extent_at(self, offset_bytes: int, length_bytes: int) -> tuple[int, bool]:
        number = offset_bytes // BLOCK_BYTES
        with self._lock:
            found = self._run("SELECT 1 FROM blocks WHERE number = ?", number).fetchone()
        run = min(length_bytes, (number + 1) * BLOCK_BYTES - offset_bytes)
        return run, found is None and self._parent is None

    def flush(self) -> None:
        with self._lock:
            try:
                self._database.commit()
            except sqlite3.Error as error:
                raise self._refused(error) from error

    def close(self) -> None:
        self.flush()
        self._database.close()

    def _block(self, number: int) -> bytes:
        row = self._run("SELECT data FROM blocks WHERE number = ?", number).fetchone()
        if row is not None:
            return bytes(row[0])
        if self._parent is None:
            return ZEROS
        begin = number * BLOCK_BYTES
        return self._parent.read(begin, min(BLOCK_BYTES, self._parent.size_bytes - begin)).ljust(BLOCK_BYTES, b"\0")

    def _run(self, statement: str, *values: object) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def _refused(self, error: sqlite3.Error) -> ImageError:
        kind = StorageFullError if "is full" in str(error) else ImageError
        return kind(f"The database {self.path} failed: {error}.", path=self.path)

    def _refuse_if_read_only(self) -> None:
        if self.read_only:
            raise ImageError(f"{self.path} is open read-only.", path=self.path)


class SqliteFormat(Format):
    """The format, as goldherd sees it."""

    name = "sqlite"
    title = "blocks in a SQLite database"
    capabilities = Capabilities(
        write=True,
        create=True,
        parents=frozenset({"sqlite", "vhd"}),
        sparse=True,
        discard=True,
        resize=True,
        snapshot=True,
    )
    options = SqliteOptions

    def probe(self, path: Path, head: bytes, tail: bytes) -> bool:  # noqa: ARG002
        # The guest of a raw disk can write these bytes too, so the name must say it as well.
        return path.suffix == ".sqlite" and head[68:72] == APPLICATION_ID.to_bytes(4, "big")

    def open(self, location: str, mode: str, opener: Opener, options: SqliteOptions) -> Image:
        with closing(_connect(location, "r", options.wait_seconds)) as database:
            facts = _facts(database, location)
        parent = None
        if facts.parent is not None:
            place = facts.parent if opener.parent is None else facts.parent._replace(location=str(opener.parent))
            parent = opener.open_parent(Path(place.location), place.format)
        return SqliteImage(location, mode, options, parent)

    def create(self, location: str, size_bytes: int, parent: Place | None, options: SqliteOptions) -> None:  # noqa: ARG002
        path = Path(location)
        with new_file(path) as descriptor:  # whole and durable under its name, or not there at all
            with closing(sqlite3.connect(":memory:")) as database:
                database.executescript(SCHEMA)
                values = (size_bytes, uuid.uuid4().hex, *(parent or (None, None)))
                database.execute("INSERT INTO disk VALUES (?, ?, ?, ?)", values)
                database.commit()
                content = memoryview(database.serialize())
            with open(descriptor, "wb", closefd=False) as file:
                file.write(content)

    def check(self, location: str) -> Sequence[str]:
        with closing(_connect(location, "r", 5)) as database:
            found = [row[0] for row in database.execute("PRAGMA integrity_check")]
        return [f"{location}: {sentence}." for sentence in found if sentence != "ok"]

    def identity(self, location: str) -> str | None:
        with closing(_connect(location, "r", 5)) as database:
            return _facts(database, location).identity

    def resize(self, location: str, size_bytes: int, options: SqliteOptions) -> None:
        with closing(_connect(location, "rw", options.wait_seconds)) as database, database:
            database.execute("UPDATE disk SET size_bytes = ?", (size_bytes,))
            database.execute("DELETE FROM blocks WHERE number >= ?", (-(-size_bytes // BLOCK_BYTES),))

    def snapshot(self, location: str, target: str) -> None:
        with closing(_connect(location, "r", 5)) as database:
            try:
                database.execute("VACUUM INTO ?", (target,))
            except sqlite3.Error as error:
                raise ImageError(f"{location} could not be copied to {target}: {error}.", path=target) from error


@dataclass(frozen=True, slots=True)
class _Facts:
    size_bytes: int
    identity: str
    parent: Place | None


def _connect(path: str, mode: str, wait_seconds: float) -> sqlite3.Connection:
    try:
        uri = f"{Path(path).absolute().as_uri()}?mode={'rw' if mode == 'rw' else 'ro'}"
        database = sqlite3.connect(uri, uri=True, timeout=wait_seconds, check_same_thread=False)
        if mode == "rw":
            # The lock is held until the database is closed, so that two servers never write one disk.
            database.executescript(
                "PRAGMA synchronous = FULL; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT"
            )
        return database
    except sqlite3.Error as error:
        raise _unusable(error, path) from error


def _facts(database: sqlite3.Connection, path: str) -> _Facts:
    try:
        size_bytes, identity, form, parent = database.execute("SELECT * FROM disk").fetchone()
    except (sqlite3.Error, TypeError) as error:
        raise _unusable(error, path) from error
    return _Facts(size_bytes, identity, None if parent is None else Place(form, parent))


def _unusable(error: Exception, path: str) -> ImageError:
    if "locked" in str(error):
        return ImageError(f"{path} is in use. Stop the other program (or the other target) first.", path=path)
    return ImageError(f"{path} holds no disk: {error}. Name a file that this format made.", path=path)


@hookimpl
def image_formats() -> Format:
    """The format sqlite."""
    return SqliteFormat()
