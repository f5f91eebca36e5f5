"""Opens a catalog for a user who may read it and not write it.

SQLite keeps the newest changes in a file beside the database (-wal), which readers join. Where there is none, and the
user can't make one, no program writes at that moment, and the file alone is the whole catalog.
"""

import sqlite3
from pathlib import Path
from urllib.parse import quote


def open_read_only(path: Path) -> sqlite3.Connection:
    """The database, opened for reading; nothing is made beside it. sqlite3.Error when it can't be read."""
    connection = _open(path, "mode=ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()  # SQLite opens the file only now
    except sqlite3.OperationalError:
        connection.close()
        if Path(f"{path}-wal").exists():
            raise
        return _open(path, "mode=ro&immutable=1")
    return connection


def _open(path: Path, options: str) -> sqlite3.Connection:
    # A path may hold characters that mean something in a URL.
    return sqlite3.connect(f"file:{quote(bytes(path))}?{options}", uri=True, check_same_thread=False)
