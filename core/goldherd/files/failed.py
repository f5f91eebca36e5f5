"""The mark of a failed disk: an extended attribute of its file, which says that written data was lost.

When the system could not bring written data to a disk, the kernel drops that data and reports the error once: to one
fsync of each descriptor (errseq_t, Linux 4.13). From then on nothing tells such a file from a sound one. So the file
carries a mark, from the moment of the error until an administrator has had it checked. The mark goes where the file
goes: a restart of the daemon finds it, and a fresh disk in the file's place has none.

Knows no image and no node.
"""

import contextlib
import errno
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MARK: Final = "user.goldherd.failed"
"""The name of the attribute; `getfattr -d FILE` shows it."""
_FORM: Final = re.compile(rb"([A-Z0-9]+) ([0-9TZ:.-]+)")
_NO_MARK: Final = (errno.ENODATA, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOENT, errno.EPERM, errno.EACCES)
"""What getxattr(2) says of a file without the mark, or where no file can have one."""


@dataclass(frozen=True, slots=True)
class Failure:
    """How written data of a disk was lost."""

    number: int
    """The errno of the sync that failed."""
    at: str
    """When; UTC in ISO 8601."""
    marked: bool = False
    """Whether the file carries the mark; otherwise only this process knows."""

    def __str__(self) -> str:
        name = errno.errorcode.get(self.number, str(self.number))
        return f"written data could not be brought to the disk ({os.strerror(self.number)}, {name}) at {self.at}"


def failure_of(number: int) -> Failure:
    """A failure of this moment, not marked yet."""
    return Failure(number, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def mark(file: int | Path, failure: Failure) -> Failure:
    """Marks a file, an open one durably where that is possible; the failure with what is true of the mark now.

    A file system that is full, read-only or without such attributes keeps no mark.
    """
    name = errno.errorcode.get(failure.number, str(failure.number))
    try:
        os.setxattr(file, MARK, f"{name} {failure.at}".encode())
    except OSError:
        return Failure(failure.number, failure.at, marked=False)
    if isinstance(file, int):
        with contextlib.suppress(OSError):  # the mark then outlives this process, and perhaps not a power cut
            os.fsync(file)
    return Failure(failure.number, failure.at, marked=True)


def sync_or_mark(descriptor: int) -> None:
    """fsync; where it fails, the file is marked first, because the kernel tells the error to no other descriptor."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        mark(descriptor, failure_of(error.errno or errno.EIO))
        raise


def find_mark(file: int | Path) -> Failure | None:
    """The failure that a file is marked with, given as an open descriptor or a path; None without a mark or file."""
    try:
        text = os.getxattr(file, MARK)
    except OSError as error:
        if error.errno in _NO_MARK:
            return None
        raise
    match = _FORM.fullmatch(text)
    if match is None:  # set by hand: still a mark
        return Failure(errno.EIO, "an unknown time", marked=True)
    name = match[1].decode()
    number = int(name) if name.isdigit() else getattr(errno, name, errno.EIO)
    return Failure(number, match[2].decode(), marked=True)


def remove_mark(path: Path) -> None:
    """Takes the mark away, durably; nothing where there is none."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            os.removexattr(descriptor, MARK)
        except OSError as error:
            if error.errno not in _NO_MARK:
                raise
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
