"""Opens image files under a lock: no two programs write one disk, and nobody changes a disk being read.

Open-file-description locks (fcntl(2)): shared for "r", exclusive for "rw"; they end with the descriptor,
whatever happens to the process. Regular files and block devices only.
"""

import errno
import fcntl
import os
import stat
import struct
from pathlib import Path

from goldherd.errors import ImageError, StorageFullError

# struct flock: type, whence, start, length (0: the whole file), pid (must be 0 for F_OFD_SETLK).
_FLOCK = struct.Struct("hhqqi4x")
_BUSY = (errno.EAGAIN, errno.EACCES)


def refusal(error: OSError, path: str | Path, doing: str) -> ImageError:
    """The one sentence for an operating system error; `doing` is a verb: "open", "create"."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFullError(
            f"Could not {doing} {path}: the file system is full. Free some space and try again.",
            path=str(path),
        )
    return ImageError(f"Could not {doing} {path}: {error.strerror or error}.", path=str(path))


def open_locked(path: str | Path, mode: str) -> int:
    """The descriptor of a locked image file; the caller owns it.

    Args:
        path: the file or block device.
        mode: "r" (O_RDONLY: nothing can be written, whoever tries) or "rw".

    Raises:
        ImageError: it doesn't exist, isn't a file, may not be opened or is in use.
    """
    writable = mode == "rw"
    try:
        # O_NONBLOCK: opening a FIFO by mistake must not wait for its other end.
        fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise refusal(error, path, "open") from error
    try:
        kind = os.fstat(fd).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISBLK(kind)):
            raise ImageError(
                f"{path} is neither a file nor a block device, so it can't be a disk. Name a disk image.",
                path=str(path),
            )
        _lock(fd, path, writable)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _lock(fd: int, path: str | Path, exclusive: bool) -> None:
    lock = _FLOCK.pack(fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock)
    except OSError as error:
        if error.errno not in _BUSY:
            raise refusal(error, path, "lock") from error
        who = "somebody else uses it" if exclusive else "somebody else writes to it"
        raise ImageError(
            f"Could not open {path} for {'writing' if exclusive else 'reading'}: {who}. Stop the other "
            "program (or the other target) first.",
            path=str(path),
        ) from error


def size_of(fd: int) -> int:
    """The bytes of an open file or block device."""
    return os.lseek(fd, 0, os.SEEK_END)
