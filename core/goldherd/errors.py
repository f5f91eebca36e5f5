"""Every exception of goldherd, with the answer it becomes at the border.

A user meets the message, an initiator meets the code that the exception carries. The wire answer is read from
these attributes in exactly one place per protocol: `login_status` in negotiation/login.py, `sense` in
scsi/execute.py. Messages are whole sentences: what was refused and why. An error has a stable `kind`, which programs
and faces go by, and names the things that it is about; which command helps is added by the face that shows it.
"""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import ClassVar, Final, NamedTuple


class ErrorKind(StrEnum):
    """What sort of refusal an error is; values are never renamed."""

    INVALID = "invalid"
    """A name, an address or an option can't be what was written."""
    NOT_FOUND = "not-found"
    EXISTS = "exists"
    """The name, address or file is taken."""
    IN_USE = "in-use"
    """A running machine or another program has the thing open, or a record refers to it."""
    NO_ACTIVE_VERSION = "no-active-version"
    CHANGED = "changed"
    """A sealed file is not what was sealed any more, or a source changed while it was read."""
    DAMAGED = "damaged"
    FULL = "full"
    """The file system has no room."""
    LIMIT = "limit"
    """The process has no descriptors, memory or threads left."""
    BUSY = "busy"
    """Another program is writing; trying again helps."""
    NOT_PERMITTED = "not-permitted"
    ABSENT = "absent"
    """A disk or a volume that was there before is not there now."""
    RECORDS_LOST = "records-lost"
    """Images or disks lie in a data folder whose catalog does not know them."""
    UNCONFIRMED = "unconfirmed"
    """Data would go, and the request does not say that it may."""
    PLUGIN = "plugin"
    REFUSED = "refused"
    """Anything else that may not be done."""


class About(NamedTuple):
    """A thing that an error is about."""

    type: str
    """image, version, node, mac, file, folder, plugin or field."""
    name: str


class Sense(NamedTuple):
    """A sense triple of SPC-4 4.5: sense key, additional sense code, qualifier; `information` if VALID."""

    key: int
    asc: int
    ascq: int
    information: int | None = None


class LoginStatus(NamedTuple):
    """Status-Class and Status-Detail of a Login Response (RFC 7143 11.13.5)."""

    status_class: int
    detail: int


INITIATOR_ERROR: Final = LoginStatus(2, 0)
AUTHENTICATION_FAILURE: Final = LoginStatus(2, 1)
MOVED_TEMPORARILY: Final = LoginStatus(1, 1)
MOVED_PERMANENTLY: Final = LoginStatus(1, 2)
"""What is raised outside of a login; negotiation/states.py has the whole table."""


class GoldherdError(Exception):
    """The base of all errors a user may see; its text is one plain sentence."""

    default_kind: ClassVar[ErrorKind] = ErrorKind.REFUSED

    def __init__(self, message: str, *, kind: ErrorKind | None = None, about: tuple[About, ...] = ()) -> None:
        super().__init__(message)
        self.kind = kind or self.default_kind
        self.about = about


class SettingsError(GoldherdError):
    """A setting or an option that can't be taken."""

    default_kind = ErrorKind.INVALID


class CatalogError(GoldherdError):
    """An image, version or node that doesn't exist, exists already, or is in use."""


class PluginError(GoldherdError):
    """A plugin that can't be loaded or answered nonsense."""

    default_kind = ErrorKind.PLUGIN


class ImageError(GoldherdError):
    """A disk image that can't be opened, read or written."""

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        offset: int | None = None,
        kind: ErrorKind | None = None,
        errno: int | None = None,
    ) -> None:
        super().__init__(message, kind=kind, about=() if path is None else (About("file", path),))
        self.path = path
        self.offset = offset
        self.errno = errno
        """The system's own number, where it was one that refused: the sense data follows it."""


class StorageFullError(ImageError):
    """The file system below an image has no room left."""

    default_kind = ErrorKind.FULL


class ProtocolError(GoldherdError):
    """The peer broke RFC 7143 or may not do what it asked; `login_status` is what it is told during login."""

    def __init__(self, message: str, *, login_status: LoginStatus | None = None) -> None:
        super().__init__(message)
        self.login_status = login_status or INITIATOR_ERROR


class LoginRedirectError(ProtocolError):
    """The target is elsewhere: the initiator is told to log in at `address` (RFC 7143 11.13.5, class 1)."""

    def __init__(self, message: str, *, address: str, permanent: bool = False) -> None:
        super().__init__(message, login_status=MOVED_PERMANENTLY if permanent else MOVED_TEMPORARILY)
        self.address = address
        """host:port, the port never left out: iPXE goes to a wrong one without."""


class CommandError(GoldherdError):
    """A SCSI command that ends with CHECK CONDITION and this sense."""

    def __init__(self, message: str, *, sense: Sense, field: int | None = None, bit: int | None = None) -> None:
        super().__init__(message)
        self.sense = sense
        self.field = field
        """Byte of the CDB (or of the parameter list) that is at fault, for the sense-key specific pointer."""
        self.bit = bit


def raise_for_errno(code: int, path: str, doing: str) -> None:
    """Turns a negative errno from the C door into the exception for people; 0 and above pass.

    `doing` completes "could not ...", e.g. "write the block table".
    """
    if code >= 0:
        return
    number = -code
    if number in FULL_ERRNOS:
        raise StorageFullError(
            f"Could not {doing} of {path}: the file system is full. Free some space and try again.",
            path=path,
            errno=number,
        )
    if (shortage := shortage_of(number)) is not None:
        raise ImageError(f"Could not {doing} of {path}: {shortage}.", path=path, kind=ErrorKind.LIMIT, errno=number)
    reason = errno.errorcode.get(number, str(number))
    raise ImageError(f"Could not {doing} of {path}: {os.strerror(number)} ({reason}).", path=path, errno=number)


FULL_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT)


def shortage_of(number: int) -> str | None:
    """What the process or the system has run out of, for an errno that says so; None for any other."""
    if number == errno.EMFILE:
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return f"this process has all {allowed} files open that it may (RLIMIT_NOFILE). Raise that limit"
    if number == errno.ENFILE:
        return "the system has as many files open as it can (fs.file-max). Raise that limit"
    if number == errno.ENOMEM:
        return "no memory is left. Give the process or the machine more"
    return None


def raise_for_shortage(failure: BaseException, path: object, doing: str) -> None:
    """ImageError when the process or the system has run out of something: a file that is there is not to blame then.

    `doing` completes "could not ...", e.g. "open". Any other failure passes.
    """
    number = failure.errno if isinstance(failure, OSError) else None
    shortage = None if number is None else shortage_of(number)
    if shortage is not None:
        raise ImageError(f"Could not {doing} {path}: {shortage}.", path=str(path), kind=ErrorKind.LIMIT) from failure


@contextmanager
def shortages_named(doing: str) -> Iterator[None]:
    """Turns what Python raises when memory or threads run out into a sentence: "{doing}: no memory is left"."""
    try:
        yield
    except MemoryError as error:
        raise GoldherdError(f"{doing}: {shortage_of(errno.ENOMEM)}.", kind=ErrorKind.LIMIT) from error
    except RuntimeError as error:
        if "can't start new thread" not in str(error):  # the only name that CPython gives it
            raise
        raise GoldherdError(
            f"{doing}: the process may start no more threads (RLIMIT_NPROC, TasksMax). Raise that limit.",
            kind=ErrorKind.LIMIT,
        ) from error


def shown(raw: bytes | str, characters_max: int = 64) -> str:
    """A peer's bytes as they may stand in a log: quoted, escaped, shortened."""
    text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
    return ascii(text if len(text) <= characters_max else text[:characters_max] + "...")
