"""Raw disks: the file is the disk, byte for byte. Also block devices.

A raw file is never recognised by its content, because a guest writes that; it is what the house takes a file
for when no other plugin claims it.
"""

import errno
import os
from pathlib import Path

from goldherd import hookimpl
from goldherd.block.file import FileImage
from goldherd.block.image import Image
from goldherd.errors import ImageError
from goldherd.files.locks import open_locked, size_of
from goldherd.files.newfile import new_file

SCHEME = "raw:"


@hookimpl
def open_image(url: str, mode: str) -> Image | None:
    """Opens "raw:PATH"."""
    return open_raw(url.removeprefix(SCHEME), mode) if url.startswith(SCHEME) else None


@hookimpl
def create_image(url: str, size_bytes: int, parent: Path | None) -> bool | None:
    """Makes the file with all its space set aside, so that a guest never meets a full disk."""
    if parent is not None or not url.startswith(SCHEME):
        return None
    check_size(size_bytes, url.removeprefix(SCHEME))
    with new_file(Path(url.removeprefix(SCHEME))) as fd:
        try:
            os.posix_fallocate(fd, 0, size_bytes)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            os.ftruncate(fd, size_bytes)
    return True


def open_raw(path: str, mode: str) -> FileImage:
    """The disk in a file or block device.

    Args:
        path: the file.
        mode: "r" or "rw".

    Raises:
        ImageError: it can't be opened, or its size is not that of a disk.
    """
    fd = open_locked(path, mode)
    try:
        size_bytes = size_of(fd)
        check_size(size_bytes, path)
        return FileImage(fd, size_bytes, read_only=mode != "rw", path=path)
    except BaseException:
        os.close(fd)
        raise


def check_size(size_bytes: int, path: str) -> None:
    """Raises ImageError unless a disk can have this many bytes: whole sectors of 512, at least one."""
    if size_bytes > 0 and size_bytes % 512 == 0:
        return
    if size_bytes <= 0:
        advice = "Give it the size of the disk, for instance with truncate -s 8G"
    else:
        advice = f"Pad it with truncate -s +{-size_bytes % 512}"
    raise ImageError(
        f"The raw disk {path} has {size_bytes} bytes, and a disk is made of whole sectors of 512. {advice}.",
        path=path,
    )
