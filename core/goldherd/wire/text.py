"""key=value text, as Login and Text PDUs carry it (RFC 7143 6.1). Knows no key's meaning.

Everything that comes from a peer is checked here for its form: `parse` for pairs, `number`, `binary` and
`boolean` for values, `Collector` for text that goes on over several PDUs. What breaks the form raises
ProtocolError with login status 0x0200 (initiator error), and its message is for the log, never for the peer.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from goldherd.errors import ProtocolError, shown
from goldherd.limits import (
    TEXT_BYTES_MAX,
    TEXT_KEY_BYTES_MAX,
    TEXT_LINE_KEPT_BYTES_MAX,
    TEXT_LINES_KEPT_MAX,
    TEXT_PAIRS_MAX,
    TEXT_VALUE_BYTES_MAX,
)

Pair = tuple[str, str]
"""A key and its value."""

NOT_UNDERSTOOD: Final = "NotUnderstood"
"""Answer to a key we don't know (RFC 7143 6.2)."""
REJECT: Final = "Reject"
"""Answer to a value we can't take; the key keeps its earlier value."""
IRRELEVANT: Final = "Irrelevant"
"""Answer to a key that says nothing in this session."""

# standard-label of RFC 7143 6.1, with the '#' of the extension keys X#, Y# and Z# (RFC 7143 14.1).
_KEY: Final = re.compile(rb"[A-Za-z0-9.\-+@_/#]+")
_DECIMAL: Final = re.compile(r"[0-9]{1,20}")
_HEXADECIMAL: Final = re.compile(r"0[xX][0-9A-Fa-f]{1,16}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_NUMBER_MAX: Final = (1 << 64) - 1


def parse(data: bytes, long_values: Mapping[str, int] | None = None) -> dict[str, str]:
    """The pairs of a complete text, in order.

    Every pair ends with one NUL. Further NULs are taken only at the very end, because some initiators count
    the padding into DataSegmentLength.

    Args:
        data: the text of all PDUs of one request, joined.
        long_values: keys whose values may be longer than 255 bytes, and how long; never less.

    Raises: ProtocolError 0x0200 for a pair without '=' or NUL, a bad or repeated key, a value that is too
        long, not UTF-8 or holds control characters, or more than 256 pairs.
    """
    if not data:
        return {}
    if not data.endswith(b"\0"):
        raise ProtocolError("The text does not end with NUL (RFC 7143 6.1).")
    lines = data.rstrip(b"\0").split(b"\0")
    if lines == [b""]:
        return {}
    if len(lines) > TEXT_PAIRS_MAX:
        raise ProtocolError(f"The text holds {len(lines)} keys; {TEXT_PAIRS_MAX} are the limit.")
    pairs: dict[str, str] = {}
    for line in lines:
        key, value = _pair(line, long_values or {}) if len(line) > TEXT_LINE_KEPT_BYTES_MAX else _short_pair(line)
        if key in pairs:
            raise ProtocolError(f"The key {key} stands twice in one text.")
        pairs[key] = value
    return pairs


@lru_cache(TEXT_LINES_KEPT_MAX)
def _short_pair(line: bytes) -> Pair:
    """One line that no bound of a value concerns: the lines of one initiator's login are those of nearly all."""
    return _pair(line, {})


def _pair(line: bytes, long_values: Mapping[str, int]) -> Pair:
    """One line, checked."""
    raw_key, equals, raw_value = line.partition(b"=")
    if not equals:
        raise ProtocolError(f"The text {shown(line)} has no '='.")
    if len(raw_key) > TEXT_KEY_BYTES_MAX or not _KEY.fullmatch(raw_key):
        raise ProtocolError(f"The key {shown(raw_key)} is not 1 to {TEXT_KEY_BYTES_MAX} letters, digits or .-+@_/#.")
    key = raw_key.decode("ascii")
    bytes_max = long_values.get(key, TEXT_VALUE_BYTES_MAX)
    if len(raw_value) > bytes_max:
        raise ProtocolError(f"The value of {key} has {len(raw_value)} bytes; {bytes_max} are the limit.")
    try:
        value = raw_value.decode("utf-8")
    except UnicodeDecodeError:
        raise ProtocolError(f"The value of {key} is not UTF-8.") from None
    if _CONTROL.search(value):
        raise ProtocolError(f"The value of {key} holds control characters.")
    return key, value


def join(pairs: Iterable[Pair]) -> bytes:
    """The pairs as bytes for a data segment, without padding."""
    return "".join([f"{key}={value}\0" for key, value in pairs]).encode()


def number(value: str, minimum: int = 0, maximum: int = _NUMBER_MAX) -> int:
    """A numerical value: decimal or 0x hexadecimal, no sign, no blanks (RFC 7143 6.1, numerical-value).

    Raises: ProtocolError 0x0200 when it is not a number or lies outside the range.
    """
    if _DECIMAL.fullmatch(value):
        result = int(value)
    elif _HEXADECIMAL.fullmatch(value):
        result = int(value, 16)
    else:
        raise ProtocolError(f"{shown(value)} is not a number.")
    if not minimum <= result <= maximum:
        raise ProtocolError(f"{result} is not between {minimum} and {maximum}.")
    return result


def boolean(value: str) -> bool:
    """Yes or No, exactly so (RFC 7143 6.1, boolean-value)."""
    if value not in ("Yes", "No"):
        raise ProtocolError(f"{shown(value)} is neither Yes nor No.")
    return value == "Yes"


def binary(value: str, bytes_max: int) -> bytes:
    """A binary value: 0x and an even number of hexadecimal digits, or 0b and base64 (RFC 7143 6.1,
    large-binary-value).

    Raises: ProtocolError 0x0200 when it is neither, empty, or longer than bytes_max.
    """
    prefix, digits = value[:2].lower(), value[2:]
    try:
        if prefix == "0x":
            result = binascii.unhexlify(digits)
        elif prefix == "0b":
            result = base64.b64decode(digits, validate=True)
        else:
            raise ProtocolError("A binary value starts with neither 0x nor 0b.")
    except ValueError:
        raise ProtocolError(f"A binary value with {prefix} can't be decoded.") from None
    if not 0 < len(result) <= bytes_max:
        raise ProtocolError(f"A binary value has {len(result)} bytes; 1 to {bytes_max} are allowed.")
    return result


def hexadecimal(value: bytes) -> str:
    """A binary value as we send it: every initiator reads 0x, not every one reads 0b."""
    return "0x" + value.hex()


def pieces(data: bytes, piece_bytes: int) -> list[bytes]:
    """A text cut, anywhere (RFC 7143 6.1), into data segments of at most piece_bytes; one at least."""
    return [data[start : start + piece_bytes] for start in range(0, len(data), piece_bytes)] or [b""]


class Collector:
    """Joins a text that goes on over several PDUs by the C bit, up to a ceiling.

    Args:
        bytes_max: how much is held at most; more is a ProtocolError 0x0200.
    """

    def __init__(self, bytes_max: int = TEXT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._text = bytearray()

    @property
    def held(self) -> bytes:
        """What has come of a text that is not whole."""
        return bytes(self._text)

    def add(self, data: bytes, *, goes_on: bool) -> bytes | None:
        """Takes the data segment of one PDU; the whole text when its last PDU came, else None."""
        if len(self._text) + len(data) > self._bytes_max:
            raise ProtocolError(f"The text is longer than {self._bytes_max} bytes.")
        self._text += data
        if goes_on:
            return None
        text = bytes(self._text)
        self._text.clear()
        return text
