"""Space for files: set aside at once, or only as it is written."""

import errno
import os
from pathlib import Path
from typing import Final

from goldherd.limits import HOLE_TRIAL_BYTES

_BLOCK_BYTES: Final = 512
"""The unit of st_blocks (stat(2))."""
_CAN_NOT_ALLOCATE: Final = (errno.EOPNOTSUPP, errno.EINVAL)


def allocate(descriptor: int, size_bytes: int) -> None:
    """Gives a file that size with its space set aside; only the size where the file system can't do that."""
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    except OSError as error:
        if error.errno not in _CAN_NOT_ALLOCATE:
            raise
        os.ftruncate(descriptor, size_bytes)


def allocated_bytes(path: Path) -> int:
    """The space that a file takes, without its holes."""
    return path.stat().st_blocks * _BLOCK_BYTES


def keeps_holes(trial: Path) -> bool:
    """Whether a file of that name takes only the space of what is written to it.

    FAT and exFAT write zeros over the whole length of a file instead. Tried with a small file, which is removed. Name a
    file that is to be made next: a power cut can bring the removed one back.
    """
    descriptor = os.open(trial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        trial.unlink()  # nothing stays, even if the process is killed now
        os.ftruncate(descriptor, HOLE_TRIAL_BYTES)
        os.pwrite(descriptor, b"\0", HOLE_TRIAL_BYTES - 1)
        os.fsync(descriptor)
        return os.fstat(descriptor).st_blocks * _BLOCK_BYTES < HOLE_TRIAL_BYTES // 2
    finally:
        os.close(descriptor)
