"""A new image file: whole and durable, or not there at all."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from goldherd.errors import ImageError
from goldherd.files.locks import refusal

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@contextmanager
def new_file(path: Path) -> Iterator[int]:
    """Gives a descriptor of an empty file; it gets its name when the block ends without an exception.

    The file is synced before it is named, and the folder afterwards. An existing file is never replaced.

    Raises:
        ImageError: the name is taken, or the file system refuses (StorageFullError when it is full).
    """
    if path.exists() or path.is_symlink():
        raise _taken(path)
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.new")
    try:
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise refusal(error, path, "create") from error
    try:
        yield fd
        os.fsync(fd)
        _give_name(temporary, path)
        sync_folder(path.parent)
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError as error:
        raise refusal(error, path, "create") from error
    finally:
        os.close(fd)
        with suppress(FileNotFoundError):
            temporary.unlink()


def _give_name(temporary: Path, path: Path) -> None:
    """link(2) fails when the name is taken, which rename(2) does not."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if path.exists():
            raise FileExistsError(path) from error
        temporary.rename(path)


def sync_folder(folder: Path) -> None:
    """Makes names that were added to or removed from a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _taken(path: Path) -> ImageError:
    return ImageError(f"Could not create {path}: it exists already. Choose another name or remove it.", path=str(path))
