"""Copying large, mostly empty files: by reference where the file system can, and never a hole.

Three ways, the best first: FICLONE (both files share their blocks), copy_file_range (the bytes stay in the kernel),
read and write what is not zero (between file systems of old kernels, and from files and devices that show no holes).
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from typing import Final

from goldherd.limits import COPY_CHUNK_BYTES, HASH_HOLE_BYTES_MAX, HOLE_BYTES_MIN, READ_CHUNK_BYTES
from goldherd.model.progress import Progress

_FICLONE: Final = 0x40049409
_ZEROS: Final = bytes(HOLE_BYTES_MIN)
# The errors of a file system that does not know one of the better ways.
_NOT_THIS_WAY: Final = frozenset(
    {
        errno.EXDEV,
        errno.EINVAL,
        errno.ENOSYS,
        errno.EOPNOTSUPP,
        errno.ENOTTY,
        errno.EBADF,
        errno.EPERM,
        errno.ETXTBSY,
    }
)


def length_of(descriptor: int) -> int:
    """Bytes in an open file or block device."""
    return os.lseek(descriptor, 0, os.SEEK_END)


def data_ranges(descriptor: int, length: int) -> Iterator[tuple[int, int]]:
    """(start, end) of what is not a hole; one range when the file system knows no holes."""
    offset = 0
    while offset < length:
        try:
            start = os.lseek(descriptor, offset, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            start, end = offset, length
        yield start, min(end, length)
        offset = end


def has_few_holes(descriptor: int, length: int) -> bool:
    """Whether an open file has no more holes than data, or few: then going through its holes costs little."""
    data_bytes = sum(end - start for start, end in data_ranges(descriptor, length))
    return length - data_bytes <= max(data_bytes, HASH_HOLE_BYTES_MAX)


def copy_bytes(source: int, target: int, length: int, progress: Progress) -> None:
    """Makes the first `length` bytes of target those of source; both are descriptors.

    The target reads as zeros there before, and is at least that long. Holes stay holes. A source that shows no holes
    may hold any number of zeros (FAT, some network file systems, devices): of it only what is not zero is written.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
        return
    except OSError as error:
        if error.errno not in _NOT_THIS_WAY:
            raise
    by_kernel = _shows_holes(source, length)
    for start, end in data_ranges(source, length):
        offset = start
        while offset < end:
            progress("copy", offset, length)
            if by_kernel:
                try:
                    count = os.copy_file_range(source, target, min(COPY_CHUNK_BYTES, end - offset), offset, offset)
                except OSError as error:
                    if error.errno not in _NOT_THIS_WAY:
                        raise
                    by_kernel = False
                    continue
            else:
                count = _copy_chunk(source, target, offset, min(READ_CHUNK_BYTES, end - offset))
            if count == 0:
                raise OSError(errno.EIO, "the file became shorter while it was copied")
            offset += count
    progress("copy", length, length)


def _shows_holes(descriptor: int, length: int) -> bool:
    """Whether the file system names a hole in the file, so that all else in it is data."""
    try:
        return os.lseek(descriptor, 0, os.SEEK_HOLE) < length
    except OSError:  # EINVAL: the file system or device knows no holes
        return False


def _copy_chunk(source: int, target: int, offset: int, length: int) -> int:
    data = os.pread(source, length, offset)
    view = memoryview(data)
    for start, end in parts_with_data(data):
        done = start
        while done < end:
            done += os.pwrite(target, view[done:end], offset + done)
    return len(data)


def parts_with_data(data: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of the parts that are not zeros; a shorter run of zeros than HOLE_BYTES_MIN may be in them."""
    begin: int | None = None
    for at in range(0, len(data), HOLE_BYTES_MIN):
        empty = data.startswith(_ZEROS[: len(data) - at], at)
        if not empty and begin is None:
            begin = at
        elif empty and begin is not None:
            yield begin, at
            begin = None
    if begin is not None:
        yield begin, len(data)
