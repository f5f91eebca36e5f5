"""Opens image files under a lock: no two programs write one disk, and none changes a disk that another reads.

Open-file-description locks (fcntl(2)): shared for "r", exclusive for "rw"; they end with the descriptor,
whatever happens to the process. Regular files and block devices only.
"""

import errno
import fcntl
import os
import resource
import stat
import struct
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from goldherd.errors import FULL_ERRNOS, ErrorKind, ImageError, StorageFullError, shortage_of
from goldherd.limits import RELEASE_THREADS, SPARE_DESCRIPTORS

# struct flock: type, whence, start, length (0: the whole file), pid (must be 0 for F_OFD_SETLK).
_FLOCK = struct.Struct("hhqqi4x")
_BUSY = (errno.EAGAIN, errno.EACCES)


def refusal(error: OSError, path: str | Path, doing: str) -> ImageError:
    """The one sentence for an operating system error; `doing` is a verb: "open", "create"."""
    if error.errno in FULL_ERRNOS:
        return StorageFullError(
            f"Could not {doing} {path}: the file system is full. Free some space and try again.",
            path=str(path),
        )
    shortage = None if error.errno is None else shortage_of(error.errno)
    if shortage is not None:
        return ImageError(f"Could not {doing} {path}: {shortage}.", path=str(path), kind=ErrorKind.LIMIT)
    kind = {
        errno.ENOENT: ErrorKind.NOT_FOUND,
        errno.EACCES: ErrorKind.NOT_PERMITTED,
        errno.EPERM: ErrorKind.NOT_PERMITTED,
        errno.EROFS: ErrorKind.NOT_PERMITTED,
    }.get(error.errno or 0)
    return ImageError(f"Could not {doing} {path}: {error.strerror or error}.", path=str(path), kind=kind)


def open_locked(path: str | Path, mode: str) -> int:
    """The descriptor of a locked image file; the caller owns it.

    Args:
        path: the file or block device.
        mode: "r" (O_RDONLY: nothing can be written) or "rw".

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
        # A file that was removed between open and lock would take writes that no name leads to any more.
        if not os.fstat(fd).st_nlink:
            raise ImageError(
                f"Could not open {path}: it was removed or replaced in this moment. Try again.",
                path=str(path),
                kind=ErrorKind.BUSY,
            )
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextmanager
def held(paths: Iterable[Path]) -> Iterator[None]:
    """Keeps every other program from opening these files: what removes or replaces a file does so in this block.

    A file that does not exist needs no holding. Raises ImageError (kind in-use) when a program has one open, and then
    none is held; kind limit when the process may not open that many files.
    """
    wanted = list(paths)
    _make_room_for(len(wanted))
    descriptors: list[int] = []
    try:
        for path in wanted:
            descriptor = _hold(path)
            if descriptor is not None:
                descriptors.append(descriptor)
        yield
    finally:
        _release(descriptors)


def _release(descriptors: list[int]) -> None:
    """Closes many files. One that was removed meanwhile frees its space now, and waits for the disk to do so."""
    if len(descriptors) < RELEASE_THREADS:
        for descriptor in descriptors:
            os.close(descriptor)
        return
    with ThreadPoolExecutor(RELEASE_THREADS, thread_name_prefix="release") as pool:
        list(pool.map(os.close, descriptors))


def _make_room_for(files: int) -> None:
    """Raises the soft limit of open files as far as the hard one lets: each held file is an open one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = len(list(Path("/proc/self/fd").iterdir())) + files + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and needed > soft:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


def _hold(path: Path) -> int | None:
    """A descriptor under an exclusive lock; None when there is no file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise refusal(error, path, "open") from error
    if not stat.S_ISREG(mode):
        return None
    lifted = not os.access(path, os.W_OK, effective_ids=True) and path.stat().st_uid == os.geteuid()
    # An exclusive lock needs a descriptor that may write (fcntl(2)); the owner of a read-only file lends it one.
    if lifted:
        try:
            path.chmod(stat.S_IMODE(mode) | stat.S_IWUSR)
        except OSError as error:
            raise refusal(error, path, "lock") from error
    try:
        return open_locked(path, "rw")
    finally:
        if lifted:
            path.chmod(stat.S_IMODE(mode))


def _lock(fd: int, path: str | Path, exclusive: bool) -> None:
    lock = _FLOCK.pack(fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock)
    except OSError as error:
        if error.errno not in _BUSY:
            raise refusal(error, path, "lock") from error
        why = "another program uses it" if exclusive else "another program writes to it"
        raise ImageError(
            f"Could not open {path} for {'writing' if exclusive else 'reading'}: {why}. Stop the other "
            "program (or the other target) first.",
            path=str(path),
            kind=ErrorKind.IN_USE,
        ) from error


def size_of(fd: int) -> int:
    """The bytes of an open file or block device."""
    return os.lseek(fd, 0, os.SEEK_END)
