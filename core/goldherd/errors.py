"""Every exception of goldherd, with the answer it becomes at the border.

A user meets the message, an initiator meets the code that the exception carries. The wire answer is read from
these attributes in exactly one place per protocol: `login_status` in negotiation/login.py, `sense` in
scsi/execute.py. Messages are whole sentences: what was refused, why, and what to do.
"""

import errno
import os
from typing import NamedTuple


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


class GoldherdError(Exception):
    """The base of all errors a user may see; its text is one plain sentence."""


class SettingsError(GoldherdError):
    """A setting or an option that can't be taken."""


class CatalogError(GoldherdError):
    """An image, version or node that doesn't exist, exists already, or is in use."""


class PluginError(GoldherdError):
    """A plugin that can't be loaded or answered nonsense."""


class ImageError(GoldherdError):
    """A disk image that can't be opened, read or written."""

    def __init__(self, message: str, *, path: str | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.offset = offset


class StorageFullError(ImageError):
    """The file system below an image has no room left."""


class ProtocolError(GoldherdError):
    """The peer broke RFC 7143 or may not do what it asked; `login_status` is what it is told during login."""

    def __init__(self, message: str, *, login_status: LoginStatus | None = None) -> None:
        super().__init__(message)
        self.login_status = login_status or LoginStatus(2, 0)


class LoginRedirectError(ProtocolError):
    """The target is elsewhere: the initiator is told to log in at `address` (RFC 7143 11.13.5, class 1)."""

    def __init__(self, message: str, *, address: str, permanent: bool = False) -> None:
        super().__init__(message, login_status=LoginStatus(1, 2 if permanent else 1))
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
    if number in (errno.ENOSPC, errno.EDQUOT):
        raise StorageFullError(
            f"Could not {doing} of {path}: the file system is full. Free some space and try again.", path=path
        )
    reason = errno.errorcode.get(number, str(number))
    raise ImageError(f"Could not {doing} of {path}: {os.strerror(number)} ({reason}).", path=path)


def shown(raw: bytes | str, characters_max: int = 64) -> str:
    """A peer's bytes as they may stand in a log: quoted, escaped, shortened."""
    text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
    return ascii(text if len(text) <= characters_max else text[:characters_max] + "...")
