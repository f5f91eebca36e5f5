"""Memory that outlives the process: files on a tmpfs, each beside one disk file that is open for writing.

A disk whose tables are written at a flush keeps them in such memory, so that they are still there when the process is
killed. A power cut takes the memory away, and that is right: without the sync of a flush the disk may lack the data
that the tables speak of.

A file begins with a header of 128 bytes, in the machine's own byte order:

    0   magic, with the version         72  when it was made, ns
    8   boot id, zeros: not known       80  CRC-32 of the bytes before
    24  device of the disk file         88  when the disk file was last written to, ns
    32  inode of the disk file          96  1, or 0 when its content counts no more
    40  identity, 32 bytes: the format's own (which disk, which layout)

It is written under another name, and renamed when it is whole; from then on only the last two fields change. The disk
file names it in an extended attribute, so that every program finds it, whatever folder that program would choose.
Everything here is called by the process that has the disk file locked.
"""

import contextlib
import os
import stat
import struct
import time
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import structlog

from goldherd.errors import ErrorKind, ImageError, raise_for_shortage
from goldherd.limits import OUTLIVING_CLOCK_SECONDS, OUTLIVING_FREE_SHARE

ATTRIBUTE: Final = "user.goldherd.memory"
"""Of a disk file: boot id and path of the memory beside it, while the disk is open for writing."""
HEADER_BYTES: Final = 128
WRITTEN_AT: Final = 88
COUNTS_AT: Final = 96
_MAGIC: Final = b"ghmem01\0"
_FIXED: Final = struct.Struct("=8s16sQQ32sQ")
_CHECKED: Final = struct.Struct("=Q")
_CHANGING: Final = struct.Struct("=QQ")
_IN_MEMORY: Final = ("tmpfs", "ramfs")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_NO_BOOT: Final = bytes(16)

log = structlog.get_logger("goldherd.files")


@dataclass(frozen=True, slots=True)
class Left:
    """The memory that a process left which had a disk file open and was killed. `descriptor` is the caller's."""

    path: Path
    descriptor: int
    size_bytes: int
    made_ns: int

    def touch(self) -> None:
        """Call it before the disk file is changed: it is still the one that this memory belongs to."""
        os.pwrite(self.descriptor, _CHECKED.pack(time.time_ns()), WRITTEN_AT)

    def close(self) -> None:
        """Ends its use; the memory stays."""
        os.close(self.descriptor)

    def discard(self) -> None:
        """Ends its use; the memory is given back, unless newer memory has taken its place."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.lstat().st_ino == os.fstat(self.descriptor).st_ino:
                self.path.unlink()
        os.close(self.descriptor)


class Made:
    """New memory beside a disk file. Other processes find it from publish() on."""

    def __init__(self, path: Path, staged: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        self._staged = staged
        self._inode = os.fstat(descriptor).st_ino

    def close(self) -> None:
        """Closes the descriptor: a mapping needs it no more."""
        os.close(self.descriptor)
        self.descriptor = -1

    def publish(self, disk: int) -> None:
        """Its content counts from here on; OSError when that can't be."""
        self._staged.rename(self.path)
        with contextlib.suppress(OSError):  # without attributes it is found by its folder and name
            text = f"{_boot_id().hex()} {self.path}".encode()
            os.setxattr(disk, ATTRIBUTE, text)

    def remove(self, disk: int) -> None:
        """Gives the memory back; that of a later opener of the disk file stays."""
        for path in (self._staged, self.path):
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_ino == self._inode:
                    path.unlink()
                    with contextlib.suppress(OSError):
                        os.removexattr(disk, ATTRIBUTE)


def make(disk: int, identity: bytes, size_bytes: int, *, since_ns: int | None = None) -> Made | None:
    """Memory for an open disk file: a header, and zeros that take no room until they are written.

    Args:
        disk: the file, locked for writing.
        identity: 32 bytes that tell the disk and its layout from what another one in the same file would have.
        size_bytes: with the header.
        since_ns: `made_ns` of the memory whose content goes into this one; None without such.

    Returns: None when there is none to be had; the log says so then.
    """
    folder = memory_folder()
    if folder is None:
        return None
    path = folder / _name_of(disk)
    staged = path.with_name(f".{path.name}.new")
    try:
        space = os.statvfs(folder)
        if space.f_bavail < space.f_blocks * OUTLIVING_FREE_SHARE:
            _complain(f"{folder} is nearly full")
            return None
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(staged, flags, 0o600)
        try:
            os.ftruncate(descriptor, size_bytes)
            os.posix_fallocate(descriptor, 0, HEADER_BYTES)
            _give(descriptor, os.fstat(disk))
            os.pwrite(descriptor, _header(disk, identity, since_ns), 0)
        except BaseException:
            os.close(descriptor)
            staged.unlink(missing_ok=True)
            raise
    except OSError as error:
        _complain(f"{folder}: {error.strerror}")
        return None
    return Made(path, staged, descriptor)


def lies_beside(path: Path) -> bool:
    """Whether a killed process has left memory for a file, so that the file alone is not the whole disk.

    Call it while the file is locked: otherwise the memory may be that of a process that lives.
    """
    disk = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for place in _places(disk):
            with contextlib.suppress(OSError):
                descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    if not _problem(disk, descriptor, None):
                        return True
                finally:
                    os.close(descriptor)
        return False
    finally:
        os.close(disk)


def find(disk: int, path: str, identity: bytes, *, writable: bool) -> Left | None:
    """What a killed process left for an open, locked disk file; None when nothing, or nothing that counts.

    Memory of another boot, another disk or another version does not count, nor does it when another program has
    changed the file since. With `writable` such memory is given back.

    Raises: ImageError: there is some, and this user may not read it.
    """
    for place in _places(disk):
        try:
            flags = os.O_RDWR if writable else os.O_RDONLY
            descriptor = os.open(place, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise_for_shortage(error, path, "open")
            raise ImageError(
                f"Could not open {path}: the daemon that wrote to it was killed, and {place}, which says what it had "
                f"written, can't be read ({error.strerror}). Open it as the user of that daemon.",
                path=path,
                kind=ErrorKind.NOT_PERMITTED,
            ) from error
        problem = _problem(disk, descriptor, identity)
        if not problem:
            status = os.fstat(descriptor)
            return Left(place, descriptor, status.st_size, _FIXED.unpack(os.pread(descriptor, _FIXED.size, 0))[-1])
        os.close(descriptor)
        if problem not in (_ANOTHERS, _UNUSED):
            log.warning("the memory of a killed process is not used for a disk", path=path, reason=problem)
        if problem != _ANOTHERS and writable:
            place.unlink(missing_ok=True)
    return None


_ANOTHERS: Final = "it belongs to another file"
_UNUSED: Final = "the disk was not written to"


def _problem(disk: int, descriptor: int, identity: bytes | None) -> str:
    """Why a file of memory is not that of the disk file; "" when it is. Without an identity every disk will do."""
    status, owner = os.fstat(descriptor), os.fstat(disk)
    trusted = {0, os.geteuid(), owner.st_uid}
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in trusted or status.st_mode & 0o022:
        return _ANOTHERS
    raw = os.pread(descriptor, HEADER_BYTES, 0)
    if len(raw) != HEADER_BYTES or not raw.startswith(_MAGIC):
        return "it is of another version"
    if _CHECKED.unpack_from(raw, _FIXED.size)[0] != zlib.crc32(raw[: _FIXED.size]):
        return "it is damaged"
    _, boot, device, inode, belongs_to, made_ns = _FIXED.unpack_from(raw)
    if _NO_BOOT not in (boot, _boot_id()) and boot != _boot_id():
        return "it is of another boot"
    if (device, inode) != (owner.st_dev, owner.st_ino):
        return _ANOTHERS
    if identity is not None and belongs_to != identity:
        return "another disk has taken the place of the file"
    written_ns, counts = _CHANGING.unpack_from(raw, WRITTEN_AT)
    if not counts:
        return "the disk had failed"
    slack = OUTLIVING_CLOCK_SECONDS * 1_000_000_000
    # Every change of a table follows a write to the file. A backup that `cp -p` restores in place is older, too.
    if owner.st_mtime_ns < made_ns - slack:
        return _UNUSED
    if owner.st_mtime_ns > written_ns + slack:
        return "another program has changed the file since"
    return ""


def _header(disk: int, identity: bytes, since_ns: int | None) -> bytes:
    status, now = os.fstat(disk), time.time_ns()
    made = now if since_ns is None else since_ns
    fixed = _FIXED.pack(_MAGIC, _boot_id(), status.st_dev, status.st_ino, identity, made)
    return (fixed + _CHECKED.pack(zlib.crc32(fixed)) + _CHANGING.pack(now, 1)).ljust(HEADER_BYTES, b"\0")


def _give(descriptor: int, owner: os.stat_result) -> None:
    """What root makes belongs to the owner of the disk: the daemon must find it, should this process be killed."""
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _places(disk: int) -> list[Path]:
    """Where the memory beside a disk file may lie: where the file says, and where this process would make it."""
    places: list[Path] = []
    with contextlib.suppress(OSError, ValueError):  # no attribute, or one that another program wrote
        boot, _, named = os.getxattr(disk, ATTRIBUTE).decode("utf-8", "surrogateescape").partition(" ")
        same_boot = _NO_BOOT in (bytes.fromhex(boot), _boot_id()) or boot == _boot_id().hex()
        if same_boot and named.startswith("/"):
            places.append(Path(named))
    folder = memory_folder()
    if folder is not None and (own := folder / _name_of(disk)) not in places:
        places.append(own)
    return places


def _name_of(disk: int) -> str:
    status = os.fstat(disk)
    return f"{status.st_dev:x}-{status.st_ino:x}"


@lru_cache(maxsize=1)
def _boot_id() -> bytes:
    """Changes with each start of the machine; zeros where a service may not see it (ProcSubset=pid)."""
    try:
        return bytes.fromhex(_BOOT_ID.read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return _NO_BOOT


def memory_folder() -> Path | None:
    """The folder for such files, made when it is not there: below the service's own folder in /run, else in /dev/shm.
    Never on a disk: touching a page could wait for it."""
    return _memory_folder(os.environ.get("RUNTIME_DIRECTORY", ""))


@lru_cache(maxsize=4)
def _memory_folder(service: str) -> Path | None:
    wanted = [Path(folder) / "disks" for folder in service.split(":")[:1] if folder]
    for folder in [*wanted, Path(f"/dev/shm/goldherd-{os.geteuid()}")]:
        with contextlib.suppress(OSError):
            if not _is_in_memory(folder.parent):
                continue
            folder.mkdir(mode=0o711, exist_ok=True)  # other users find a file of theirs by its name only
            status = folder.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022:
                return folder
    _complain("this machine has no tmpfs that this user may write to")
    return None


def _is_in_memory(folder: Path) -> bool:
    """Whether a folder lies on a file system in memory (/proc/PID/mountinfo, proc_pid_mountinfo(5))."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        mount, _, system = line.partition(" - ")
        if mount.split()[2] == wanted:
            return system.split()[0] in _IN_MEMORY
    return False


@lru_cache(maxsize=16)
def _complain(reason: str) -> None:
    """Once for each reason: a daemon has thousands of disks."""
    log.warning(
        "there is no memory that outlives the daemon: a kill of it takes writes of the last seconds from VHD disks",
        reason=reason,
    )
