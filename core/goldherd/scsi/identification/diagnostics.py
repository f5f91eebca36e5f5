"""SEND DIAGNOSTIC, LOG SENSE and READ DEFECT DATA: there are no pages and no defects (SPC-4 6.7, 6.42, SBC-3 5.17)."""

from goldherd.scsi.call import Call
from goldherd.scsi.sense import invalid_field, invalid_parameter


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
    """LOG SENSE: only the list of supported log pages, which names itself."""
    page, subpage = call.cdb[2] & 0x3F, call.cdb[3]
    if page or subpage not in (0x00, 0xFF):
        raise invalid_field(2, f"There is no log page {page:02X}h/{subpage:02X}h.", bit=5)
    if subpage:
        return bytes([0x40, 0xFF, 0, 4, 0x00, 0x00, 0x00, 0xFF])
    return bytes([0x00, 0x00, 0, 1, 0x00])
