"""A quick look at a catalog: names for the shell's completion, and the totals, also for users who may only read.

Uses nothing but sqlite3, because SQLAlchemy takes longer to load than the shell's user waits, and opens the file
read-only: nothing is made, migrated or locked. Every answer is empty when the folder has no catalog.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from goldherd.catalog.readonly import open_read_only
from goldherd.errors import CatalogError, ErrorKind


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


def _rows(data: Path, query: str) -> list[tuple[Any, ...]]:
    path = data.absolute() / "catalog.sqlite"
    try:
        if not path.is_file():
            return []
        with closing(open_read_only(path)) as connection:
            return connection.execute(query).fetchall()
    except PermissionError as error:
        raise CatalogError(
            f"The data folder {data} may not be read: run this as the user who owns it, or as one of its group.",
            kind=ErrorKind.NOT_PERMITTED,
        ) from error
    except sqlite3.OperationalError as error:
        raise CatalogError(
            f"The catalog {path} can't be read ({error}): run this as the user who owns it, or as one of its group.",
            kind=ErrorKind.NOT_PERMITTED,
        ) from error
    except sqlite3.DatabaseError as error:
        raise CatalogError(
            f"The file {path} is not a catalog ({error}): move it away.", kind=ErrorKind.DAMAGED
        ) from error
