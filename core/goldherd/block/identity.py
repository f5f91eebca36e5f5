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
    return _kept(location) or _made(location) or _by_place(location)


# By name, not by a descriptor: closing one would take away the locks that a library in this process has on the file, as
# SQLite does (fcntl(2): "Advisory record locking").


def _kept(location: str) -> str | None:
    try:
        text = os.getxattr(location, ATTRIBUTE)
        inode = os.stat(location).st_ino  # noqa: PTH116 - a location need not be a path
    except (OSError, ValueError):
        return None
    identity, _, kept = text.decode("ascii", "replace").partition(" ")
    return identity if identity and kept == str(inode) else None


def _made(location: str) -> str | None:
    identity = randomness.token_hex(16)
    try:
        os.setxattr(location, ATTRIBUTE, f"{identity} {os.stat(location).st_ino}".encode())  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return identity


def _by_place(location: str) -> str:
    machine = next((file.read_text().strip() for file in _MACHINE if file.is_file()), os.uname().nodename)
    place = os.fsencode(os.path.realpath(location) if os.path.exists(location) else location)  # noqa: PTH110
    return hashlib.sha256(machine.encode() + b"\0" + place).hexdigest()[:32]
