"""Space for files: set aside at once, or only as it is written."""

import errno
import os
from typing import Final

_CAN_NOT_ALLOCATE: Final = (errno.EOPNOTSUPP, errno.EINVAL)


def allocate(descriptor: int, size_bytes: int) -> None:
    """Gives a file that size with its space set aside; only the size where the file system can't do that."""
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    except OSError as error:
        if error.errno not in _CAN_NOT_ALLOCATE:
            raise
        os.ftruncate(descriptor, size_bytes)
