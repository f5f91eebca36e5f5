"""Copying and hashing large, mostly empty files: by reference where the file system can, and never a hole.

Three ways, the best first: FICLONE (both files share their blocks), copy_file_range (the bytes stay in the
kernel), read and write (between file systems of old kernels, and from devices).
"""

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from goldherd.limits import COPY_CHUNK_BYTES, READ_CHUNK_BYTES
from goldherd.model.progress import Progress

_FICLONE: Final = 0x40049409
# What a file system answers when it does not know one of the better ways.
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


def copy_bytes(source: int, target: int, length: int, progress: Progress) -> None:
    """Makes the first `length` bytes of target those of source; both are descriptors.

    The target reads as zeros there before, and is at least that long. Holes stay holes.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
        return
    except OSError as error:
        if error.errno not in _NOT_THIS_WAY:
            raise
    by_kernel = True
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


def _copy_chunk(source: int, target: int, offset: int, length: int) -> int:
    data = os.pread(source, length, offset)
    if data.count(0) == len(data):
        return len(data)  # leaves the hole: devices say nothing of theirs
    view = memoryview(data)
    done = 0
    while done < len(data):
        done += os.pwrite(target, view[done:], offset + done)
    return len(data)


def hash_file(path: Path, progress: Progress, prefix_bytes: int | None = None) -> tuple[str, str]:
    """SHA-256 of a file and of its first prefix_bytes (the whole file when None), in one pass.

    Holes are hashed without being read.
    """
    zeros = bytes(READ_CHUNK_BYTES)
    buffer = bytearray(READ_CHUNK_BYTES)
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        length = length_of(file.fileno())
        border = length if prefix_bytes is None else prefix_bytes
        at_border = digest
        ranges = data_ranges(file.fileno(), length)
        start, end = next(ranges, (length, length))
        offset = 0
        while offset < length:
            if offset >= end:
                start, end = next(ranges, (length, length))
            stop = end if offset >= start else start
            if offset < border:
                stop = min(stop, border)
            wanted = min(stop - offset, READ_CHUNK_BYTES)
            if offset < start:
                digest.update(memoryview(zeros)[:wanted])
                count = wanted
            else:
                count = os.preadv(file.fileno(), [memoryview(buffer)[:wanted]], offset)
                if count == 0:
                    raise OSError(errno.EIO, "the file became shorter while it was read")
                digest.update(memoryview(buffer)[:count])
            offset += count
            if offset == border:
                at_border = digest.copy()
            progress("hash", offset, length)
    return digest.hexdigest(), at_border.hexdigest()
