"""The seal of a golden file: how a change is noticed that no disk format would show.

All children of a golden image hold only what differs from it, so a single write to it ruins them all,
silently. VHD's own UUID says which file it is, never whether it was changed. Therefore size, modification
time and a hash of the file's head and tail (headers, block table and footer lie there) are kept in the
catalog and compared each time before the file is used; `image verify` compares every byte. Where the file system has
fs-verity, the kernel keeps the file from being changed at all, and its digest is compared as well.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from goldherd.errors import ErrorKind, ImageError, raise_for_shortage
from goldherd.files import verity
from goldherd.files.copying import has_few_holes
from goldherd.files.hashing import Hashes, hash_file
from goldherd.limits import GUARD_HEAD_BYTES, GUARD_TAIL_BYTES
from goldherd.model.images import CONTENT_HASH, PLAIN_HASH, Seal, VersionRecord
from goldherd.model.progress import Progress

_log = structlog.get_logger("goldherd.goldens")

_ADVICE: Final = "restore the file from a backup, or import it as a new version."
OTHER_CONTENT: Final = "its content has not the hash that it was sealed with"
"""How a version was changed whose bytes were all compared."""

Hasher = Callable[[Path, Progress, bool], Hashes]
"""Hashes a file; the last argument says whether SHA-256 over all bytes is wanted. OSError when it can't be read."""


def seal_of(path: Path) -> Seal:
    """The seal of the file as it is now; OSError when it can't be read."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        digest = hashlib.sha256(file.read(GUARD_HEAD_BYTES))
        file.seek(max(status.st_size - GUARD_TAIL_BYTES, 0))
        digest.update(file.read(GUARD_TAIL_BYTES))
        measured = verity.measure(file.fileno())
    return Seal(status.st_size, status.st_mtime_ns, digest.hexdigest(), measured)


def protect(path: Path, progress: Progress) -> None:
    """Lets the kernel keep a file as it is, where it can; to be called while this user may still write it.

    A file of many holes is left as it is: the kernel would read them all, and its tree would take space for them.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        length = os.fstat(descriptor).st_size
        if has_few_holes(descriptor, length):
            progress("protect", 0, length)
            verity.protect(descriptor)
            progress("protect", length, length)
    except OSError as error:
        _log.warning("a sealed file is not protected by fs-verity", path=str(path), reason=error.strerror)
    finally:
        os.close(descriptor)


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


def find_change(version: VersionRecord) -> str | None:
    """How the file differs from its seal, a clause such as "its size differs"; None: not at all.

    Costs about a millisecond. Raises OSError when the file can't be read.
    """
    found = seal_of(version.path)
    for how, before, after in (
        ("its size differs", version.seal.file_bytes, found.file_bytes),
        ("its first or last bytes differ", version.seal.guard, found.guard),
        ("its fs-verity digest differs", version.seal.verity, found.verity if version.seal.verity else None),
        ("its modification time differs", version.seal.mtime_ns, found.mtime_ns),
    ):
        if before != after:
            return how
    return None


def verify_sealed(version: VersionRecord) -> None:
    """Returns when the file is as it was sealed, and was not found changed before; costs about a millisecond.

    Raises ImageError: missing, unreadable or changed.
    """
    how = version.changed
    if how is None:
        try:
            how = find_change(version)
        except OSError as error:
            raise_for_shortage(error, version.path, "read")
            raise ImageError(
                f"{version.name} can't be used: its file {version.path} can't be read ({error.strerror}); {_ADVICE}",
                path=str(version.path),
            ) from error
    if how is not None:
        raise ImageError(
            f"{version.name} can't be used: {version.path} was changed after it was sealed ({how}), which would "
            "corrupt every node on it. Verify the version: if all its bytes are right, as after a restore, it is used "
            f"again. If they are not, {_ADVICE}",
            path=str(version.path),
            kind=ErrorKind.CHANGED,
        )


def hash_here(path: Path, progress: Progress, plain: bool) -> Hashes:
    """Hashes a file in this process, as fast as it can, from the disk itself."""
    return hash_file(path, progress, plain=plain, from_disk=True)[0]


def verify_content(version: VersionRecord, progress: Progress, hasher: Hasher = hash_here) -> Seal:
    """Reads the whole file and compares it with its hash; gives the seal to keep from now on.

    A file whose bytes are all right is right, whatever its modification time: a backup may have been
    restored. Raises ImageError: of kind DAMAGED when a byte differs, CHANGED when it was written to meanwhile, INVALID
    when the hash is of an algorithm that is not known here, REFUSED when the file can't be read.
    """
    if version.hash_algorithm not in (CONTENT_HASH, PLAIN_HASH):
        raise ImageError(
            f"{version.name} can't be verified: it was sealed with the hash {version.hash_algorithm}, which this "
            "goldherd does not know; use the one that sealed it, or a later one.",
            path=str(version.path),
            kind=ErrorKind.INVALID,
        )
    plain = version.hash_algorithm == PLAIN_HASH
    try:
        before = version.path.stat()
        if before.st_size != version.seal.file_bytes:  # reading on would only tell the same later
            raise _damaged(version, f"has {before.st_size} bytes and had {version.seal.file_bytes}")
        hashes = hasher(version.path, progress, plain)
        found = seal_of(version.path)
        after = version.path.stat()
    except OSError as error:
        raise_for_shortage(error, version.path, "read")
        raise ImageError(
            f"{version.name} can't be verified: {version.path} can't be read ({error.strerror}); {_ADVICE}",
            path=str(version.path),
        ) from error
    if (before.st_ino, before.st_size, before.st_ctime_ns) != (after.st_ino, after.st_size, after.st_ctime_ns):
        raise ImageError(
            f"{version.name} can't be verified: {version.path} was written to meanwhile; find the program that writes "
            "to it, and verify the version again.",
            path=str(version.path),
            kind=ErrorKind.CHANGED,
        )
    if (hashes.plain if plain else hashes.chunked) != version.hash:
        raise _damaged(version, "has not the hash it was sealed with")
    return found


def _damaged(version: VersionRecord, how: str) -> ImageError:
    reason = f"{version.name} is damaged: {version.path} {how}; {_ADVICE}"
    return ImageError(reason, path=str(version.path), kind=ErrorKind.DAMAGED)
