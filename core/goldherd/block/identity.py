"""What tells one disk file from all others, of this machine and of others: the origin of its SCSI names.

An id is made once and kept in an extended attribute, so it stays with the file when that is renamed or moved. The
attribute holds the inode number as well: a copy that took the attribute along is another disk, and multipath would join
two disks of one name.
"""

import hashlib
import os
import secrets as randomness
from pathlib import Path
from typing import Final

ATTRIBUTE: Final = "user.goldherd.id"
_MACHINE: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


def disk_identity(location: str) -> str:
    """The id of the disk at a location, made when it has none.

    A disk that takes no attribute (read-only, a file system without them, a block device, no file at all) is named by
    machine and place.
    """
    try:
        descriptor = os.open(location, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return _by_place(location)
    try:
        return _kept(descriptor) or _made(descriptor) or _by_place(location)
    finally:
        os.close(descriptor)


def _kept(descriptor: int) -> str | None:
    try:
        text = os.getxattr(descriptor, ATTRIBUTE)
    except OSError:
        return None
    identity, _, inode = text.decode("ascii", "replace").partition(" ")
    return identity if identity and inode == str(os.fstat(descriptor).st_ino) else None


def _made(descriptor: int) -> str | None:
    identity = randomness.token_hex(16)
    try:
        os.setxattr(descriptor, ATTRIBUTE, f"{identity} {os.fstat(descriptor).st_ino}".encode())
    except OSError:
        return None
    return identity


def _by_place(location: str) -> str:
    machine = next((file.read_text().strip() for file in _MACHINE if file.is_file()), os.uname().nodename)
    place = os.fsencode(os.path.realpath(location) if os.path.exists(location) else location)  # noqa: PTH110
    return hashlib.sha256(machine.encode() + b"\0" + place).hexdigest()[:32]
