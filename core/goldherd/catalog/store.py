"""The catalog's database: one SQLite file in the data folder, and its transactions.

    DATA/catalog.sqlite     what is known (WAL: readers never wait for writers)

Transactions are short: nothing is copied, created or waited for inside one, so the daemon's own writes never
queue behind a command for long.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from goldherd.catalog.migrations import is_current, migrate
from goldherd.catalog.readonly import open_read_only
from goldherd.errors import About, CatalogError, ErrorKind, GoldherdError, StorageFullError
from goldherd.limits import CATALOG_BUSY_MILLISECONDS

CATALOG_FILE: Final = "catalog.sqlite"
_PRAGMAS_READING = (f"PRAGMA busy_timeout = {CATALOG_BUSY_MILLISECONDS}",)
_PRAGMAS = (
    *_PRAGMAS_READING,
    "PRAGMA journal_mode = WAL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA synchronous = FULL",
)
# Failures of SQLite: (part of its message, kind, the sentence for users about {path}).
_FAILURES = (
    ("database is locked", ErrorKind.BUSY, "The catalog {path} stays busy: another goldherd is writing; try again."),
    (
        "readonly",
        ErrorKind.NOT_PERMITTED,
        "The catalog {path} may not be written: the file system is read-only, or another user owns it.",
    ),
    (
        "unable to open",
        ErrorKind.NOT_PERMITTED,
        "The catalog {path} can't be opened: run this as the user who owns it.",
    ),
    ("malformed", ErrorKind.DAMAGED, "The catalog {path} is damaged: restore it from a backup."),
    ("constraint failed", ErrorKind.BUSY, "Another command changed the same entries of {path}: try again."),
    (
        "not a database",
        ErrorKind.DAMAGED,
        "The file {path} is not a catalog: move it away, or name another data folder.",
    ),
)


def now() -> str:
    """The time as the catalog writes it: UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Catalog:
    """The records of one data folder, opened; made when it is new. Safe to use from several processes and threads.

    Args:
        data: the data folder.
        name: the database's file in it.

    Raises CatalogError when the folder can't be used or belongs to a later goldherd.
    """

    def __init__(self, data: Path, name: str = CATALOG_FILE) -> None:
        self.data = data.absolute()
        self.path = self.data / name
        self.read_only = _may_only_read(self.path)
        """Whether this user may read the catalog and not change it."""
        try:
            self.data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _folder_error(self.data, error) from error
        # The driver is given the path itself: in a URL, characters such as ? and % would mean something else.
        self._engine = create_engine("sqlite://", creator=self._connect, poolclass=QueuePool)
        event.listen(self._engine, "connect", self._connected)
        event.listen(self._engine, "begin", _begin)
        if self.read_only:
            with self.read() as connection:
                if not is_current(connection):
                    raise CatalogError(
                        f"The catalog {self.path} is that of another goldherd, and this user may not bring it up to "
                        "date: run this once as the user who owns it.",
                        kind=ErrorKind.NOT_PERMITTED,
                        about=(About("file", str(self.path)),),
                    )
            return
        # The first connection may turn WAL on, which two processes must not do at the same time.
        with self._schema_lock():
            with self.read() as connection:
                current = is_current(connection)
            if not current:
                with self.write() as connection:
                    migrate(connection, self.path)

    def _connect(self) -> sqlite3.Connection:
        if self.read_only:
            return open_read_only(self.path)
        return sqlite3.connect(self.path, check_same_thread=False)

    def _connected(self, connection: Any, _record: object) -> None:
        # The driver must not open transactions by itself: "begin" below says which kind each one is.
        connection.isolation_level = None
        for pragma in _PRAGMAS_READING if self.read_only else _PRAGMAS:
            connection.execute(pragma)

    def close(self) -> None:
        """Lets go of the database."""
        self._engine.dispose()

    def __enter__(self) -> "Catalog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the catalog and changes nothing."""
        with self._explained(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that alone may write; done as a whole or, when an exception leaves it, not at all."""
        with self._explained(), self._engine.connect() as plain:
            connection = plain.execution_options(goldherd_writes=True)
            with connection.begin():
                yield connection

    def stored(self, path: Path) -> str:
        """A path as the database keeps it: relative inside the data folder, so that the folder can move."""
        return str(path.relative_to(self.data)) if path.is_relative_to(self.data) else str(path)

    @contextmanager
    def _schema_lock(self) -> Iterator[None]:
        """One opener at a time: the lock lies on the data folder itself (flock(2)), so it needs no file."""
        try:
            descriptor = os.open(self.data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _folder_error(self.data, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            text = str(error.orig)
            if "is full" in text:
                raise StorageFullError(
                    f"The catalog {self.path} can't be written: the file system is full. Free some space and "
                    "try again.",
                    path=str(self.path),
                ) from error
            about = (About("file", str(self.path)),)
            for part, kind, sentence in _FAILURES:
                if part in text:
                    raise CatalogError(sentence.format(path=self.path), kind=kind, about=about) from error
            raise CatalogError(f"The catalog {self.path} failed ({text}): see the log, then try again.") from error


def _begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a transaction that reads first could not be waited for later.
    writes = connection.get_execution_options().get("goldherd_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _may_only_read(path: Path) -> bool:
    """Whether there is a catalog that this user may not write, or beside which he may make no files."""

    def writable(place: Path) -> bool:
        return os.access(place, os.W_OK, effective_ids=True)

    return os.access(path, os.F_OK, effective_ids=True) and not (writable(path) and writable(path.parent))


def _folder_error(data: Path, error: OSError) -> GoldherdError:
    return CatalogError(
        f"The data folder {data} can't be used ({error.strerror}): name another, or run this as the user who owns it.",
        kind=ErrorKind.NOT_PERMITTED,
        about=(About("folder", str(data)),),
    )
