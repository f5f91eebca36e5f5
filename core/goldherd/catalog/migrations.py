"""The schema of the catalog, as the numbered steps that lead to it from an empty file.

SQLite keeps the number of the last step in `user_version`. A step is never changed once it was released: a
new one is added at the end. There is no way down; a file from the future is refused and left alone.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection

from goldherd.errors import CatalogError


class Step(NamedTuple):
    """One step of the schema: what it is for and the statements, run in one transaction with its number."""

    purpose: str
    statements: tuple[str, ...]


STEPS: Final[tuple[Step, ...]] = (
    Step(
        "images, versions, nodes, network cards and access rules",
        (
            """CREATE TABLE images (
                 id INTEGER PRIMARY KEY,
                 name TEXT NOT NULL UNIQUE,
                 next_number INTEGER NOT NULL,
                 created_at TEXT NOT NULL)""",
            """CREATE TABLE versions (
                 id INTEGER PRIMARY KEY,
                 image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE RESTRICT,
                 number INTEGER NOT NULL CHECK (number > 0),
                 state TEXT NOT NULL CHECK (state IN ('draft', 'sealed', 'active', 'retired')),
                 path TEXT NOT NULL UNIQUE,
                 format TEXT NOT NULL,
                 size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
                 sha256 TEXT NOT NULL,
                 source_sha256 TEXT NOT NULL,
                 file_bytes INTEGER NOT NULL,
                 mtime_ns INTEGER NOT NULL,
                 guard TEXT NOT NULL,
                 in_place INTEGER NOT NULL CHECK (in_place IN (0, 1)),
                 parent_id INTEGER REFERENCES versions (id) ON DELETE RESTRICT,
                 created_at TEXT NOT NULL,
                 UNIQUE (image_id, number))""",
            "CREATE UNIQUE INDEX versions_active ON versions (image_id) WHERE state = 'active'",
            "CREATE INDEX versions_parent ON versions (parent_id)",
            """CREATE TABLE nodes (
                 id INTEGER PRIMARY KEY,
                 name TEXT NOT NULL UNIQUE,
                 image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE RESTRICT,
                 version_id INTEGER REFERENCES versions (id) ON DELETE RESTRICT,
                 policy TEXT NOT NULL CHECK (policy IN ('keep', 'reset')),
                 chap_user TEXT,
                 created_at TEXT NOT NULL,
                 seen_at TEXT,
                 seen_address TEXT)""",
            "CREATE INDEX nodes_image ON nodes (image_id)",
            "CREATE INDEX nodes_version ON nodes (version_id)",
            """CREATE TABLE macs (
                 mac TEXT PRIMARY KEY,
                 node_id INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE)""",
            "CREATE INDEX macs_node ON macs (node_id)",
            """CREATE TABLE rules (
                 node_id INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
                 kind TEXT NOT NULL CHECK (kind IN ('initiator')),
                 value TEXT NOT NULL,
                 PRIMARY KEY (node_id, kind, value))""",
            "CREATE INDEX rules_value ON rules (kind, value)",
        ),
    ),
    Step(
        "access rules by network, MAC address and DNS name",
        (
            """CREATE TABLE wider_rules (
                 node_id INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
                 kind TEXT NOT NULL CHECK (kind IN ('initiator', 'net', 'mac', 'dns')),
                 value TEXT NOT NULL,
                 PRIMARY KEY (node_id, kind, value))""",
            "INSERT INTO wider_rules SELECT node_id, kind, value FROM rules",
            "DROP TABLE rules",
            "ALTER TABLE wider_rules RENAME TO rules",
            "CREATE INDEX rules_value ON rules (kind, value)",
        ),
    ),
    Step(
        "which changes of files were decided (changes.py)",
        ("CREATE TABLE changes (id TEXT PRIMARY KEY) WITHOUT ROWID",),
    ),
    Step(
        "which installation this is, and which disks its nodes have had",
        (
            """CREATE TABLE installation (
                 id TEXT PRIMARY KEY,
                 names_disks INTEGER NOT NULL CHECK (names_disks IN (0, 1)),
                 marked INTEGER NOT NULL CHECK (marked IN (0, 1))) WITHOUT ROWID""",
            # Machines that run already know their disks by names without the id: those stay.
            "INSERT INTO installation SELECT lower(hex(randomblob(16))), NOT EXISTS (SELECT 1 FROM nodes), 0",
            """CREATE TABLE disks (
                 node_id INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
                 version_id INTEGER NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
                 PRIMARY KEY (node_id, version_id)) WITHOUT ROWID""",
            "CREATE INDEX disks_version ON disks (version_id)",
        ),
    ),
    Step(
        "filters over the disks of a version's nodes: a JSON list of texts",
        ("ALTER TABLE versions ADD COLUMN filters TEXT NOT NULL DEFAULT '[]'",),
    ),
    Step(
        "hashes by a named algorithm, and SHA-256 over all bytes where it is known",
        (
            "ALTER TABLE versions RENAME COLUMN sha256 TO hash",
            "ALTER TABLE versions RENAME COLUMN source_sha256 TO source_hash",
            "ALTER TABLE versions ADD COLUMN hash_algorithm TEXT NOT NULL DEFAULT 'sha256'",
            "ALTER TABLE versions ADD COLUMN sha256 TEXT",
            "ALTER TABLE versions ADD COLUMN source_sha256 TEXT",
            "UPDATE versions SET sha256 = hash, source_sha256 = source_hash",
        ),
    ),
    Step(
        "what became of the files of versions: found changed, verified, protected by fs-verity",
        (
            "ALTER TABLE versions ADD COLUMN changed TEXT",
            "ALTER TABLE versions ADD COLUMN changed_at TEXT",
            "ALTER TABLE versions ADD COLUMN times_changed INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE versions ADD COLUMN verified_at TEXT",
            "ALTER TABLE versions ADD COLUMN outcome TEXT CHECK (outcome IN ('right', 'changed', 'unreadable'))",
            "ALTER TABLE versions ADD COLUMN verity TEXT",
        ),
    ),
    Step(
        "quotas: how much space the disks of nodes may take",
        (
            """CREATE TABLE quotas (
                 node_id INTEGER PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
                 soft_bytes INTEGER NOT NULL CHECK (soft_bytes >= 0),
                 hard_bytes INTEGER NOT NULL CHECK (hard_bytes >= 0))""",
        ),
    ),
)


def schema_number(connection: Connection) -> int:
    """The number of the last step this file has seen; 0 for a new one."""
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def is_current(connection: Connection) -> bool:
    """Whether every step was taken and none is unknown: then there is nothing to migrate."""
    return schema_number(connection) == len(STEPS)


def migrate(connection: Connection, path: object, steps: Sequence[Step] = STEPS) -> int:
    """Takes the steps that are missing, within the caller's transaction; gives how many there were.

    Raises CatalogError when the file was written by a later goldherd.
    """
    number = schema_number(connection)
    if number > len(steps):
        raise CatalogError(
            f"The catalog {path} was written by a later goldherd (schema {number}; this one knows "
            f"{len(steps)}): install that version again, or restore the catalog from a backup."
        )
    for step in steps[number:]:
        for statement in step.statements:
            connection.exec_driver_sql(statement)
    connection.exec_driver_sql(f"PRAGMA user_version = {len(steps)}")
    return len(steps) - number
