"""CHAP secrets: one file per node in DATA/secrets, mode 0600 in a folder of mode 0700, and nowhere else.

They are kept as they are, not hashed: CHAP (RFC 1994) computes with the secret itself on both sides, so a
hash would be the secret. They are not in the database, so that it can be listed, copied and sent to somebody
who helps. A secret never becomes part of a record, a message or a log line.
"""

import os
import secrets as randomness
from pathlib import Path

from goldherd.errors import CatalogError, SettingsError
from goldherd.files.newfile import sync_folder
from goldherd.limits import CHAP_SECRET_BYTES_MAX
from goldherd.volumes.store import Volumes


def read_secret_file(path: Path) -> bytes:
    """The secret in a file that a user named: its bytes without the newline at the end.

    Raises SettingsError when there is none, or when it can't be a secret.
    """
    try:
        with path.open("rb") as file:
            secret = file.read(CHAP_SECRET_BYTES_MAX + 2)
    except OSError as error:
        raise SettingsError(f"The secret file {path} can't be read ({error.strerror}).") from error
    secret = secret.removesuffix(b"\n").removesuffix(b"\r")
    if not secret or len(secret) > CHAP_SECRET_BYTES_MAX or b"\n" in secret or b"\0" in secret:
        raise SettingsError(
            f"The secret file {path} does not hold a secret: write one line of 1 to {CHAP_SECRET_BYTES_MAX} bytes."
        )
    return secret


def save_secret(volumes: Volumes, node: str, secret: bytes) -> None:
    """Writes a node's secret, whole or not at all."""
    path = volumes.secret(node)
    temporary = volumes.secrets / f".{node}.{randomness.token_hex(4)}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, secret)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    sync_folder(volumes.secrets)


def load_secret(volumes: Volumes, node: str) -> bytes:
    """A node's secret; CatalogError when its file is missing."""
    try:
        return volumes.secret(node).read_bytes()
    except OSError as error:
        raise CatalogError(
            f"The CHAP secret of {node} can't be read ({error.strerror}): give it again with 'goldherd node set'."
        ) from error
