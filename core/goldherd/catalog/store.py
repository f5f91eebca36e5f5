"""The catalog's place on disk: its data folder, its database and its locks.

    DATA/catalog.sqlite     what is known (WAL: readers never wait for writers)
    DATA/images/            sealed golden files, NAME@NUMBER.vhd, mode 0444
    DATA/overlays/          differencing children, NODE.IMAGE@NUMBER.vhd
    DATA/secrets/           CHAP secrets, one file per node, mode 0600
    DATA/changes/           lists of files that a running command makes or removes (leftovers.py)

Transactions are short: nothing is copied, created or waited for inside one, so the daemon's own writes never
queue behind a command for long.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError

from goldherd.catalog.migrations import is_current, migrate
from goldherd.errors import CatalogError, GoldherdError, PluginError, StorageFullError, raise_for_errno
from goldherd.limits import CATALOG_BUSY_MILLISECONDS

_PRAGMAS = (
    f"PRAGMA busy_timeout = {CATALOG_BUSY_MILLISECONDS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA synchronous = FULL",
)
# What SQLite says, and what a person is told: (part of its message, sentence about {path}).
_FAILURES = (
    ("database is locked", "The catalog {path} stays busy: another goldherd is writing; try again."),
    ("readonly", "The catalog {path} may not be written: run this as the user who owns it."),
    ("unable to open", "The catalog {path} can't be opened: run this as the user who owns it."),
    ("malformed", "The catalog {path} is damaged: restore it from a backup."),
    (
        "macs.mac",
        "This MAC address belongs to another node: 'goldherd node list' shows which; take it from that node first.",
    ),
    ("constraint failed", "Another command changed the same entries of {path}: try again."),
    ("not a database", "The file {path} is not a catalog: move it away, or name another folder with --data."),
)


def now() -> str:
    """The time as the catalog writes it: UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def sync_folder(folder: Path) -> None:
    """Makes names that were added to or removed from a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explained(path: Path, doing: str) -> Iterator[None]:
    """Turns what the system refused, to us or to a plugin, into a sentence: "Could not {doing} of {path}"."""
    try:
        yield
    except (OSError, PluginError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError):
            raise_for_errno(-(cause.errno or errno.EIO), str(cause.filename or path), doing)
        raise


class Catalog:
    """One data folder, opened; made when it is new. Safe to use from several processes and threads at once.

    Raises CatalogError when the folder can't be used or belongs to a later goldherd.
    """

    def __init__(self, data: Path) -> None:
        self.data = data.absolute()
        self.path = self.data / "catalog.sqlite"
        self.images = self.data / "images"
        self.overlays = self.data / "overlays"
        self.secrets = self.data / "secrets"
        self.changes = self.data / "changes"
        try:
            for folder in (self.data, self.images, self.overlays, self.changes):
                folder.mkdir(parents=True, exist_ok=True)
            self.secrets.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise _folder_error(self.data, error) from error
        self._engine = create_engine(f"sqlite:///{self.path}")
        event.listen(self._engine, "connect", _connected)
        event.listen(self._engine, "begin", _begin)
        # The first connection may turn WAL on, which two processes must not do at the same time.
        with self.lock("schema"):
            with self.read() as connection:
                current = is_current(connection)
            if not current:
                with self.write() as connection:
                    migrate(connection, self.path)

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

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Keeps other processes (and threads) out of everything else done under the same lock."""
        try:
            descriptor = os.open(self.changes / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _folder_error(self.data, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def stored(self, path: Path) -> str:
        """A path as the database keeps it: relative inside the data folder, so that the folder can move."""
        return str(path.relative_to(self.data)) if path.is_relative_to(self.data) else str(path)

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
            for part, sentence in _FAILURES:
                if part in text:
                    raise CatalogError(sentence.format(path=self.path)) from error
            raise CatalogError(f"The catalog {self.path} failed ({text}): see the log, then try again.") from error


def _connected(connection: Any, _record: object) -> None:
    # The driver must not open transactions by itself: "begin" below says which kind each one is.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a transaction that reads first could not be waited for later.
    writes = connection.get_execution_options().get("goldherd_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _folder_error(data: Path, error: OSError) -> GoldherdError:
    return CatalogError(
        f"The data folder {data} can't be used ({error.strerror}): name another with --data, or run this "
        "as the user who owns it."
    )
