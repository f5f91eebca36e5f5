"""The seal of a golden file: how a change is noticed that no disk format would show.

All children of a golden image hold only what differs from it, so a single write to it ruins them all,
silently. VHD's own UUID says which file it is, never whether it was changed. Therefore size, modification
time and a hash of the file's head and tail (headers, block table and footer lie there) are kept in the
catalog and compared each time before the file is used; `image verify` compares every byte.
"""

import hashlib
import os
import stat
from pathlib import Path

from goldherd.errors import ErrorKind, ImageError, raise_for_shortage
from goldherd.files.hashing import hash_file
from goldherd.limits import GUARD_HEAD_BYTES, GUARD_TAIL_BYTES
from goldherd.model.images import CONTENT_HASH, PLAIN_HASH, Seal, VersionRecord
from goldherd.model.progress import Progress

_ADVICE = "restore the file from a backup, or import it as a new version."


def seal_of(path: Path) -> Seal:
    """The seal of the file as it is now; OSError when it can't be read."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        digest = hashlib.sha256(file.read(GUARD_HEAD_BYTES))
        file.seek(max(status.st_size - GUARD_TAIL_BYTES, 0))
        digest.update(file.read(GUARD_TAIL_BYTES))
    return Seal(status.st_size, status.st_mtime_ns, digest.hexdigest())


def make_read_only(path: Path) -> None:
    """Takes every write permission from a file; one that has none may lie on a read-only mount and is left as it is."""
    if not is_write_protected(path):
        path.chmod(0o444)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)  # permissions are the file's own: no fsync of its folder makes them durable
        finally:
            os.close(descriptor)


def is_write_protected(path: Path) -> bool:
    """Whether the file has no write permission; goldherd then does not write it, even as root."""
    mode = path.stat().st_mode
    return stat.S_ISREG(mode) and not mode & 0o222


def verify_sealed(version: VersionRecord) -> None:
    """Returns when the file is as it was sealed; costs about a millisecond.

    Raises ImageError: missing, unreadable or changed.
    """
    try:
        found = seal_of(version.path)
    except OSError as error:
        raise_for_shortage(error, version.path, "read")
        raise ImageError(
            f"{version.name} can't be used: its file {version.path} can't be read ({error.strerror}); {_ADVICE}",
            path=str(version.path),
        ) from error
    for what, before, after in (
        ("its size", version.seal.file_bytes, found.file_bytes),
        ("its first or last bytes", version.seal.guard, found.guard),
        ("its modification time", version.seal.mtime_ns, found.mtime_ns),
    ):
        if before != after:
            raise ImageError(
                f"{version.name} can't be used: {version.path} was changed after it was sealed ({what} "
                "differs), which would corrupt every node on it. Verify the version; if that fails too, "
                f"{_ADVICE}",
                path=str(version.path),
                kind=ErrorKind.CHANGED,
            )


def verify_content(version: VersionRecord, progress: Progress) -> Seal:
    """Reads the whole file and compares it with its hash; gives the seal to keep from now on.

    A file whose bytes are all right is right, whatever its modification time: a backup may have been
    restored. Raises ImageError when a byte differs, or the hash is of an algorithm that is not known here.
    """
    if version.hash_algorithm not in (CONTENT_HASH, PLAIN_HASH):
        raise ImageError(
            f"{version.name} can't be verified: it was sealed with the hash {version.hash_algorithm}, which this "
            "goldherd does not know; use the one that sealed it, or a later one.",
            path=str(version.path),
        )
    plain = version.hash_algorithm == PLAIN_HASH
    try:
        hashes, _ = hash_file(version.path, progress, plain=plain)
        found = seal_of(version.path)
    except OSError as error:
        raise_for_shortage(error, version.path, "read")
        raise ImageError(
            f"{version.name} can't be verified: {version.path} can't be read ({error.strerror}); {_ADVICE}",
            path=str(version.path),
        ) from error
    if (hashes.plain if plain else hashes.chunked) != version.hash:
        raise ImageError(
            f"{version.name} is damaged: {version.path} has not the hash it was sealed with; {_ADVICE}",
            path=str(version.path),
            kind=ErrorKind.DAMAGED,
        )
    return found
