"""A quick look at a catalog: names for the shell's completion, and the totals, also for users who may only read.

Uses nothing but sqlite3, because SQLAlchemy takes longer to load than the shell's user waits, and opens the file
read-only: nothing is made, migrated or locked. Every answer is empty when the folder has no catalog.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from goldherd.errors import CatalogError


def node_names(data: Path) -> list[str]:
    """The names of all nodes."""
    return [name for (name,) in _rows(data, "SELECT name FROM nodes")]


def version_names(data: Path) -> list[str]:
    """All versions as `name@number`."""
    query = "SELECT images.name, versions.number FROM versions JOIN images ON images.id = versions.image_id"
    return [f"{image}@{number}" for image, number in _rows(data, query)]


def totals(data: Path) -> tuple[int, int, int, int]:
    """How many images, versions and nodes there are, and the bytes of all golden files."""
    query = (
        "SELECT (SELECT count(*) FROM images), (SELECT count(*) FROM versions), (SELECT count(*) FROM nodes), "
        "(SELECT coalesce(sum(file_bytes), 0) FROM versions)"
    )
    for images, versions, nodes, golden_bytes in _rows(data, query):
        return images, versions, nodes, golden_bytes
    return 0, 0, 0, 0


def _rows(data: Path, query: str) -> Iterator[tuple[Any, ...]]:
    path = data.absolute() / "catalog.sqlite"
    try:
        if not path.is_file():
            return
        rows = _read(path, query, "mode=ro")
    except PermissionError as error:
        raise CatalogError(f"The data folder {data} may not be read: run this as the user who owns it.") from error
    except sqlite3.OperationalError as error:
        # Without write permission SQLite can't join the other readers of a WAL file; with no such file there are none.
        if Path(f"{path}-wal").exists():
            raise CatalogError(f"The catalog {path} can't be read ({error}): run this as its owner.") from error
        rows = _whole(path, query)
    except sqlite3.DatabaseError as error:
        raise CatalogError(f"The file {path} is not a catalog ({error}): move it away.") from error
    yield from rows


def _whole(path: Path, query: str) -> list[tuple[Any, ...]]:
    try:
        return _read(path, query, "mode=ro&immutable=1")
    except sqlite3.Error as error:
        raise CatalogError(f"The catalog {path} can't be read ({error}): run this as its owner.") from error


def _read(path: Path, query: str, options: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{quote(str(path))}?{options}", uri=True)) as connection:
        return connection.execute(query).fetchall()
