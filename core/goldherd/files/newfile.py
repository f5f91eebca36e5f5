"""A new image file: whole and durable, or not there at all. Many of them become durable together."""

import errno
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Self

from goldherd.errors import ImageError
from goldherd.files.locks import refusal

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@contextmanager
def new_file(path: Path) -> Iterator[int]:
    """Gives a descriptor of an empty file; it gets its name when the block ends without an exception.

    The file is synced before it is named, and the folder afterwards, but for one that is made inside a Together. An
    existing file is never replaced.

    Raises:
        ImageError: the name is taken, or the file system refuses (StorageFullError when it is full).
    """
    together = _together.get()
    if together is not None:
        with together.new_file(path) as fd:
            yield fd
        return
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
        temporary.unlink(missing_ok=True)  # before the folder is synced, or a power cut leaves both names
        sync_folder(path.parent)
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError as error:
        raise refusal(error, path, "create") from error
    finally:
        os.close(fd)
        with suppress(FileNotFoundError):
            temporary.unlink()


class Together:
    """New files that become durable together, so that the disk is waited for once and not for each of them.

    A file gets its name before its content is durable. So the names must stand in an intent journal, which removes the
    files when the process is killed before the change was decided. At the end of the block all files and their folders
    are synced, on threads of the pool; after an exception they are only closed.

    Raises: ImageError when a file can't be made durable (StorageFullError when the file system is full).
    """

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._made: list[tuple[int, Path]] = []

    @contextmanager
    def member(self) -> Iterator[None]:
        """Files that this thread makes by new_file() inside the block belong to these."""
        token = _together.set(self)
        try:
            yield
        finally:
            _together.reset(token)

    @contextmanager
    def new_file(self, path: Path) -> Iterator[int]:
        """Gives a descriptor of an empty file, which goes again when an exception leaves the block."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError as error:
            raise _taken(path) from error
        except OSError as error:
            raise refusal(error, path, "create") from error
        try:
            yield fd
        except BaseException as error:
            os.close(fd)
            path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise refusal(error, path, "create") from error
            raise
        self._made.append((fd, path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                list(self._pool.map(_sync, self._made))
                for folder in {path.parent for _, path in self._made}:
                    sync_folder(folder)
        finally:
            for fd, _ in self._made:
                os.close(fd)


_together: ContextVar[Together | None] = ContextVar("together", default=None)


def _sync(made: tuple[int, Path]) -> None:
    fd, path = made
    try:
        os.fsync(fd)
    except OSError as error:
        raise refusal(error, path, "create") from error


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
