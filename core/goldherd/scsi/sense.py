"""Sense data: the codes this target gives, and the bytes that carry them (SPC-4 4.5).

The names are those of the T10 ASC/ASCQ list. Knows no command. A handler raises CommandError with one of
these; `encode` makes the bytes.
"""

import errno
from typing import Final

from goldherd.errors import CommandError, ImageError, Sense, StorageFullError

# --- NO SENSE, RECOVERED ERROR ---
NO_SENSE: Final = Sense(0x0, 0x00, 0x00)

# --- NOT READY ---
SANITIZE_IN_PROGRESS: Final = Sense(0x2, 0x04, 0x1B)
MEDIUM_NOT_PRESENT_TRAY_OPEN: Final = Sense(0x2, 0x3A, 0x02)

# --- MEDIUM ERROR ---
WRITE_ERROR: Final = Sense(0x3, 0x0C, 0x00)
UNRECOVERED_READ_ERROR: Final = Sense(0x3, 0x11, 0x00)
SANITIZE_FAILED: Final = Sense(0x3, 0x31, 0x03)

# --- HARDWARE ERROR ---
INTERNAL_TARGET_FAILURE: Final = Sense(0x4, 0x44, 0x00)

# --- ILLEGAL REQUEST ---
OPERATION_IN_PROGRESS: Final = Sense(0x5, 0x00, 0x16)
INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT: Final = Sense(0x5, 0x0E, 0x03)
PARAMETER_LIST_LENGTH_ERROR: Final = Sense(0x5, 0x1A, 0x00)
INVALID_COMMAND_OPERATION_CODE: Final = Sense(0x5, 0x20, 0x00)
LBA_OUT_OF_RANGE: Final = Sense(0x5, 0x21, 0x00)
INVALID_FIELD_IN_CDB: Final = Sense(0x5, 0x24, 0x00)
LOGICAL_UNIT_NOT_SUPPORTED: Final = Sense(0x5, 0x25, 0x00)
INVALID_FIELD_IN_PARAMETER_LIST: Final = Sense(0x5, 0x26, 0x00)
INVALID_RELEASE_OF_PERSISTENT_RESERVATION: Final = Sense(0x5, 0x26, 0x04)
TOO_MANY_TARGET_DESCRIPTORS: Final = Sense(0x5, 0x26, 0x06)
UNSUPPORTED_TARGET_DESCRIPTOR_TYPE: Final = Sense(0x5, 0x26, 0x07)
TOO_MANY_SEGMENT_DESCRIPTORS: Final = Sense(0x5, 0x26, 0x08)
UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE: Final = Sense(0x5, 0x26, 0x09)
INLINE_DATA_LENGTH_EXCEEDED: Final = Sense(0x5, 0x26, 0x0B)
TOKEN_UNUSABLE: Final = Sense(0x5, 0x23, 0x00)
TOKEN_TYPE_NOT_SUPPORTED: Final = Sense(0x5, 0x23, 0x01)
REMOTE_TOKEN_NOT_SUPPORTED: Final = Sense(0x5, 0x23, 0x02)
TOKEN_UNKNOWN: Final = Sense(0x5, 0x23, 0x04)
TOKEN_CORRUPT: Final = Sense(0x5, 0x23, 0x05)
TOKEN_EXPIRED: Final = Sense(0x5, 0x23, 0x07)
TOKEN_CANCELLED: Final = Sense(0x5, 0x23, 0x08)
TOKEN_DELETED: Final = Sense(0x5, 0x23, 0x09)
TOKEN_LENGTH_INVALID: Final = Sense(0x5, 0x23, 0x0A)
SAVING_PARAMETERS_NOT_SUPPORTED: Final = Sense(0x5, 0x39, 0x00)
MEDIUM_REMOVAL_PREVENTED: Final = Sense(0x5, 0x53, 0x02)
INSUFFICIENT_REGISTRATION_RESOURCES: Final = Sense(0x5, 0x55, 0x04)
INSUFFICIENT_RESOURCES_FOR_ROD_TOKEN: Final = Sense(0x5, 0x55, 0x0D)

# --- UNIT ATTENTION ---
MEDIUM_MAY_HAVE_CHANGED: Final = Sense(0x6, 0x28, 0x00)
POWER_ON_OCCURRED: Final = Sense(0x6, 0x29, 0x00)
TARGET_RESET_OCCURRED: Final = Sense(0x6, 0x29, 0x02)
LOGICAL_UNIT_RESET_OCCURRED: Final = Sense(0x6, 0x29, 0x03)
NEXUS_LOSS_OCCURRED: Final = Sense(0x6, 0x29, 0x07)
MODE_PARAMETERS_CHANGED: Final = Sense(0x6, 0x2A, 0x01)
RESERVATIONS_PREEMPTED: Final = Sense(0x6, 0x2A, 0x03)
RESERVATIONS_RELEASED: Final = Sense(0x6, 0x2A, 0x04)
REGISTRATIONS_PREEMPTED: Final = Sense(0x6, 0x2A, 0x05)
CAPACITY_DATA_CHANGED: Final = Sense(0x6, 0x2A, 0x09)
TIMESTAMP_CHANGED: Final = Sense(0x6, 0x2A, 0x10)
SOFT_THRESHOLD_REACHED: Final = Sense(0x6, 0x38, 0x07)
COMMANDS_CLEARED_BY_ANOTHER_INITIATOR: Final = Sense(0x6, 0x2F, 0x00)
REPORTED_LUNS_DATA_CHANGED: Final = Sense(0x6, 0x3F, 0x0E)

# --- DATA PROTECT ---
WRITE_PROTECTED: Final = Sense(0x7, 0x27, 0x00)
SPACE_ALLOCATION_FAILED: Final = Sense(0x7, 0x27, 0x07)

# --- COPY ABORTED ---
COPY_ABORTED: Final = Sense(0xA, 0x00, 0x00)
COPY_TARGET_NOT_REACHABLE: Final = Sense(0xA, 0x0D, 0x02)
COPY_UNDERRUN: Final = Sense(0xA, 0x0D, 0x04)
COPY_CLEARED: Final = Sense(0xA, 0x2F, 0x02)

# --- MISCOMPARE ---
MISCOMPARE_DURING_VERIFY: Final = Sense(0xE, 0x1D, 0x00)

UNIT_ATTENTION_KEY: Final = 0x6
_ILLEGAL_REQUEST = 0x5
_IN_PARAMETERS = {0x1A, 0x26}
"""Additional sense codes whose field pointer points into the parameter list, not into the CDB."""


def field_pointer(sense: Sense, field: int, bit: int | None) -> bytes:
    """The three bytes of SPC-4 4.5.2.4.2 that name the byte, and perhaps the bit, at fault."""
    flags = 0x80 | (0x00 if sense.asc in _IN_PARAMETERS else 0x40)
    if bit is not None:
        flags |= 0x08 | bit
    return bytes([flags]) + field.to_bytes(2)


def progress(part: float) -> bytes:
    """The progress indication of SPC-4 4.5.2.4.4; `part` runs from 0 to 1."""
    return b"\x80" + min(0xFFFF, int(part * 0x10000)).to_bytes(2)


def encode(sense: Sense, *, descriptor: bool = False, specific: bytes = b"") -> bytes:
    """The bytes of one sense; `descriptor` is D_SENSE of the control mode page, `specific` the sense-key
    specific field of three bytes or nothing.

    An INFORMATION of more than 32 bits fits descriptor format only, so it is then used whatever D_SENSE says.
    """
    information = sense.information
    if descriptor or (information is not None and information > 0xFFFFFFFF):
        parts = b""
        if information is not None:
            parts += bytes([0x00, 0x0A, 0x80, 0x00]) + information.to_bytes(8)
        if specific:
            parts += bytes([0x02, 0x06, 0x00, 0x00]) + specific + b"\x00"
        return bytes([0x72, sense.key, sense.asc, sense.ascq, 0, 0, 0, len(parts)]) + parts
    data = bytearray(18)
    data[0] = 0x70
    data[2] = sense.key
    if information is not None:
        data[0] |= 0x80  # VALID
        data[3:7] = information.to_bytes(4)
    data[7] = 0x0A
    data[12] = sense.asc
    data[13] = sense.ascq
    data[15 : 15 + len(specific)] = specific
    return bytes(data)


def encode_error(error: CommandError, *, descriptor: bool) -> bytes:
    """The sense data of a refused command, with the pointer to the field at fault when one is known."""
    sense = error.sense
    specific = b""
    if error.field is not None and sense.key == _ILLEGAL_REQUEST:
        specific = field_pointer(sense, error.field, error.bit)
    return encode(sense, descriptor=descriptor, specific=specific)


def invalid_field(field: int, why: str, bit: int | None = None) -> CommandError:
    """05/24/00, pointing at byte `field` of the CDB."""
    return CommandError(why, sense=INVALID_FIELD_IN_CDB, field=field, bit=bit)


def invalid_parameter(field: int, why: str, bit: int | None = None) -> CommandError:
    """05/26/00, pointing at byte `field` of the parameter list."""
    return CommandError(why, sense=INVALID_FIELD_IN_PARAMETER_LIST, field=field, bit=bit)


def list_too_short(why: str) -> CommandError:
    """05/1A/00: the parameter list ends before what it must hold."""
    return CommandError(why, sense=PARAMETER_LIST_LENGTH_ERROR)


# --- errors of the medium ---

_BY_ERRNO: Final[dict[int, Sense]] = {
    errno.ENOSPC: SPACE_ALLOCATION_FAILED,
    errno.EDQUOT: SPACE_ALLOCATION_FAILED,
    errno.EFBIG: SPACE_ALLOCATION_FAILED,
    errno.EROFS: WRITE_PROTECTED,
    errno.ENOMEM: INTERNAL_TARGET_FAILURE,
}
_BY_KIND: Final[dict[str, Sense]] = {"read": UNRECOVERED_READ_ERROR}
"""Every other kind of I/O changes the medium: 03/0C/00."""


def of_errno(kind: str, number: int, lba: int | None = None) -> Sense:
    """The sense of I/O that failed.

    Args:
        kind: "read", "write", "flush" or "discard".
        number: the errno, of either sign.
        lba: the first block concerned, for the INFORMATION field of medium errors.
    """
    sense = _BY_ERRNO.get(abs(number)) or _BY_KIND.get(kind, WRITE_ERROR)
    return sense._replace(information=lba) if sense.key == 0x3 else sense


def of_image_error(error: ImageError | OSError, kind: str, block_size: int) -> Sense:
    """The sense of what an image raised while it did something of that kind."""
    number = errno.ENOSPC if isinstance(error, StorageFullError) else getattr(error, "errno", None) or errno.EIO
    offset = getattr(error, "offset", None)
    return of_errno(kind, number, None if offset is None else offset // block_size)
