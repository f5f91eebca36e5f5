"""Raw disks: the file is the disk, byte for byte. Also block devices.

A raw file is never recognised by its content, because a guest writes that; it is what goldherd takes a file for when
no other plugin claims it and nothing says that it is a container.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from goldherd import Capabilities, Format, Image, Opener, Place, hookimpl
from goldherd.block.containers import container_of_content
from goldherd.block.file import FileImage
from goldherd.block.image import pending_failure
from goldherd.errors import ImageError
from goldherd.files.failed import sync_or_mark
from goldherd.files.locks import open_locked, refusal, size_of
from goldherd.files.newfile import new_file
from goldherd.files.space import allocate
from goldherd.limits import PROBE_BYTES


class RawFormat(Format):
    """ "raw:PATH": new files get all their space at once, so that a guest never meets a full file system."""

    name = "raw"
    title = "the disk itself, byte for byte"
    capabilities = Capabilities(write=True, create=True, plain=True, discard=True, resize=True)

    def open(self, location: str, mode: str, opener: Opener, options: Any) -> Image:  # noqa: ARG002
        return open_raw(location, mode)

    def create(self, location: str, size_bytes: int, parent: Place | None, options: Any) -> None:  # noqa: ARG002
        check_size(size_bytes, location)
        with new_file(Path(location)) as fd:
            self._give_space(fd, size_bytes)

    def check(self, location: str) -> Sequence[str]:
        try:
            open_raw(location, "r").close()
        except ImageError as error:
            return (str(error),)
        return ()

    def resize(self, location: str, size_bytes: int, options: Any) -> None:  # noqa: ARG002
        check_size(size_bytes, location)
        fd = open_locked(location, "rw")
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ImageError(
                    f"{location} is a device, and its size is not for goldherd to change. Resize it where it was made.",
                    path=location,
                )
            os.ftruncate(fd, size_bytes)
            self._give_space(fd, size_bytes)
            sync_or_mark(fd)
        except OSError as error:
            raise refusal(error, location, "resize") from error
        finally:
            os.close(fd)

    def _give_space(self, fd: int, size_bytes: int) -> None:
        """Sets the space of a whole file aside, where the file system can do that without writing it."""
        allocate(fd, size_bytes)


@hookimpl
def image_formats() -> Format:
    """The format raw."""
    return RawFormat()


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
        if size_bytes <= 0 or size_bytes % 512:
            head = os.pread(fd, PROBE_BYTES, 0)
            check_size(size_bytes, path, head, os.pread(fd, PROBE_BYTES, max(0, size_bytes - PROBE_BYTES)))
        failure = pending_failure(fd, path) if mode == "rw" else None
        return FileImage(fd, size_bytes, read_only=mode != "rw", path=path, failure=failure)
    except BaseException:
        os.close(fd)
        raise


def check_size(size_bytes: int, path: str, head: bytes = b"", tail: bytes = b"") -> None:
    """Raises ImageError unless a disk can have this many bytes: whole sectors of 512, at least one.

    The first and last bytes of the file decide what is advised: a container is never padded.
    """
    if size_bytes > 0 and size_bytes % 512 == 0:
        return
    container = container_of_content(head, tail)
    if container is not None:
        advice = f"It carries the mark of a container ({container.name}): {container.advice}"
    elif size_bytes <= 0:
        advice = "Give it the size of the disk, for instance with truncate -s 8G"
    else:
        advice = f"Pad it with truncate -s +{-size_bytes % 512}"
    raise ImageError(
        f"The raw disk {path} has {size_bytes} bytes, and a disk is made of whole sectors of 512. {advice}.",
        path=path,
    )
