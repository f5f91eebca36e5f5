"""iSCSI names: what is one, and the form in which two are compared (RFC 7143 4.2.7, RFC 3722).

A name is never a path, a pattern or a format: it is looked up whole, after `normalise`.
"""

import re
import stringprep
from functools import lru_cache
from typing import Final
from unicodedata import ucd_3_2_0

from goldherd.errors import ProtocolError, shown
from goldherd.limits import ISCSI_NAME_BYTES_MAX, NAMES_READ_MAX

# RFC 3720 3.2.6.3.1: a date, a domain written backwards, and after a colon whatever its owner likes.
_IQN: Final = re.compile(
    r"iqn\.[0-9]{4}-(?:0[1-9]|1[0-2])\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*(?::.+)?"
)
_EUI: Final = re.compile(r"eui\.[0-9a-f]{16}")
_NAA: Final = re.compile(r"naa\.(?:[0-9a-f]{16}|[0-9a-f]{32})")

# RFC 3722 5: of ASCII, only these are left; and the ideographic full stop is no dot.
_ASCII: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.:")
_PROHIBITED: Final = (
    stringprep.in_table_c11_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


@lru_cache(NAMES_READ_MAX)
def normalise(name: str) -> str:
    """The name in its only comparable form, lower case.

    Raises: ProtocolError 0x0200 when it is longer than 223 bytes, holds a character that RFC 3722 prohibits,
        or is neither iqn., eui. nor naa. in its format.
    """
    # Before any work per character: a name comes from a peer that nobody knows yet.
    if len(name.encode("utf-8", "surrogatepass")) > ISCSI_NAME_BYTES_MAX:
        raise ProtocolError(f"The name {shown(name)} is longer than {ISCSI_NAME_BYTES_MAX} bytes.")
    folded = _folded(name)
    if len(folded.encode()) > ISCSI_NAME_BYTES_MAX:
        raise ProtocolError(f"The name {shown(name)} is longer than {ISCSI_NAME_BYTES_MAX} bytes.")
    if not any(form.fullmatch(folded) for form in (_IQN, _EUI, _NAA)):
        raise ProtocolError(
            f"{shown(name)} is not an iSCSI name; use iqn.YYYY-MM.reversed.domain:anything, eui. or naa."
        )
    return folded


def _folded(name: str) -> str:
    """The stringprep profile of RFC 3722: map, normalise, refuse."""
    if name.isascii():
        folded = name.lower()
        if _ASCII.issuperset(folded):  # as nearly all of them are
            return folded
    else:
        mapped = "".join(
            stringprep.map_table_b2(character) for character in name if not stringprep.in_table_b1(character)
        )
        folded = ucd_3_2_0.normalize("NFKC", mapped)
    for character in folded:
        if character in _ASCII:
            continue
        if character.isascii() or character == "\u3002" or any(table(character) for table in _PROHIBITED):
            raise ProtocolError(f"The name {shown(name)} holds {character!a}, which no iSCSI name may (RFC 3722).")
    _check_direction(name, folded)
    return folded


def _check_direction(name: str, folded: str) -> None:
    """Letters that run right to left may not be mixed with others (RFC 3454 section 6)."""
    if not any(stringprep.in_table_d1(character) for character in folded):
        return
    # An iSCSI name starts with iqn., eui. or naa., which runs left to right: the two are always mixed.
    raise ProtocolError(f"The name {shown(name)} mixes two directions of writing, which no iSCSI name may (RFC 3722).")
