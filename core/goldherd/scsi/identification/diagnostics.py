"""SEND DIAGNOSTIC, LOG SENSE and READ DEFECT DATA (SPC-4 6.7, 6.42, SBC-3 5.17).

There is no self-test beyond the default one, there are no defects, and one log page tells the space of thin units.
"""

from typing import Final

from goldherd.scsi.call import Call
from goldherd.scsi.sense import invalid_field, invalid_parameter

_PROVISIONING: Final = 0x0C
_AVAILABLE, _USED = 0x0001, 0x0002
_DEDICATED, _SHARED = 0x01, 0x02


def read_defect_data(call: Call) -> bytes:
    """READ DEFECT DATA(10) and (12): there are no defects, in whatever format was asked for."""
    long = call.cdb[0] == 0xB7
    flags = call.cdb[1 if long else 2] & 0x1F
    return bytes([0, flags]) + bytes(6 if long else 2)


def send_diagnostic(call: Call) -> None:
    """SEND DIAGNOSTIC: the default self-test always passes; there are no diagnostic pages."""
    if call.list_bytes:
        raise invalid_parameter(0, "There are no diagnostic pages.")


def log_sense(call: Call) -> bytes:
    """LOG SENSE: the lists of log pages, and that of the space of a thin unit, if it is known."""
    page, subpage = call.cdb[2] & 0x3F, call.cdb[3]
    pages = [0x00]
    if call.unit.space is not None:
        pages.append(_PROVISIONING)
    if page == _PROVISIONING in pages and not subpage:
        return _provisioning(call)
    if page or subpage not in (0x00, 0xFF):
        raise invalid_field(2, f"There is no log page {page:02X}h/{subpage:02X}h.", bit=5)
    if subpage:
        both = bytes([0x00, 0x00, 0x00, 0xFF]) + b"".join(bytes([code, 0x00]) for code in pages[1:])
        return bytes([0x40, 0xFF, 0, len(both)]) + both
    return bytes([0x00, 0x00, 0, len(pages), *pages])


def _provisioning(call: Call) -> bytes:
    """The logical block provisioning log page (SBC-3 6.4.4), in threshold sets: free space, which is not this unit's
    alone, and what the unit uses."""
    space = call.unit.space
    assert space is not None, "the page is listed only when it is known"
    counts = ((_AVAILABLE, space.available_bytes, _SHARED), (_USED, space.used_bytes, _DEDICATED))
    body = b"".join(
        code.to_bytes(2) + bytes([0x03, 8]) + space.sets(count).to_bytes(4) + bytes([scope, 0, 0, 0])
        for code, count, scope in counts
    )
    return bytes([_PROVISIONING, 0]) + len(body).to_bytes(2) + body
