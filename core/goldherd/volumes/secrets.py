"""CHAP secrets: one file per node in DATA/secrets, mode 0600 in a folder of mode 0700, and nowhere else.

They are kept as they are, not hashed: CHAP (RFC 1994) computes with the secret itself on both sides, so a
hash would be the secret. They are not in the database, so that the database can be listed, copied and sent to a
helper. A secret never becomes part of a record, a message or a log line.
"""

import os
import secrets as randomness
from pathlib import Path

from goldherd.errors import About, CatalogError, ErrorKind
from goldherd.files.newfile import sync_folder
from goldherd.volumes.store import Volumes


def staged_name(secret_file: Path) -> Path:
    """The path of a secret that is to replace another."""
    return secret_file.with_name(f".{secret_file.name}.{randomness.token_hex(4)}.new")


def write_secret(path: Path, secret: bytes) -> None:
    """Writes a secret to a new file, durably."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, secret)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def load_secret(volumes: Volumes, node: str) -> bytes:
    """A node's secret; CatalogError when its file is missing."""
    try:
        return volumes.secret(node).read_bytes()
    except OSError as error:
        raise CatalogError(
            f"The CHAP secret of {node} can't be read ({error.strerror}): give it again.",
            kind=ErrorKind.NOT_FOUND,
            about=(About("node", node),),
        ) from error
