"""MODE SENSE and MODE SELECT, 6 and 10 (SPC-4 6.13 to 6.16, SBC-3 6.5); the pages are in state/mode_pages.py."""

from typing import Final

from goldherd.errors import CommandError
from goldherd.scsi import sense as codes
from goldherd.scsi.call import Call
from goldherd.scsi.sense import invalid_field, invalid_parameter, list_too_short
from goldherd.scsi.state.mode_pages import BY_CODE, PAGES, Page

ALL_PAGES: Final = 0x3F
ALL_SUBPAGES: Final = 0xFF
_CURRENT, _CHANGEABLE, _DEFAULT, _SAVED = range(4)


def mode_sense(call: Call) -> bytes:
    """MODE SENSE(6) and (10)."""
    long = call.cdb[0] == 0x5A
    control, code, subpage = call.cdb[2] >> 6, call.cdb[2] & 0x3F, call.cdb[3]
    if control == _SAVED:
        raise CommandError("Mode pages are not saved.", sense=codes.SAVING_PARAMETERS_NOT_SUPPORTED)
    pages = b"".join(_value(call, page, control) for page in _selected(code, subpage))
    descriptor = b""
    if not call.cdb[1] & 0x08:
        descriptor = _block_descriptor(call, wide=long and bool(call.cdb[1] & 0x10))
    device_specific = 0x10 | (0x80 if call.unit.write_protected else 0)  # DPOFUA, WP
    if not long:
        length = 3 + len(descriptor) + len(pages)
        return bytes([length, 0, device_specific, len(descriptor)]) + descriptor + pages
    length = 6 + len(descriptor) + len(pages)
    wide = 1 if len(descriptor) == 16 else 0  # LONGLBA
    header = length.to_bytes(2) + bytes([0, device_specific, wide, 0]) + len(descriptor).to_bytes(2)
    return header + descriptor + pages


def _selected(code: int, subpage: int) -> list[Page]:
    if code == ALL_PAGES and subpage in (0, ALL_SUBPAGES):
        return [page for page in PAGES if subpage or not page.subpage]
    pages = [page for page in PAGES if page.code == code and subpage in (page.subpage, ALL_SUBPAGES)]
    if not pages:
        raise invalid_field(2, f"There is no mode page {code:02X}h/{subpage:02X}h.", bit=5)
    return pages


def _value(call: Call, page: Page, control: int) -> bytes:
    if control == _CHANGEABLE:
        return page.changeable
    if control == _DEFAULT:
        return page.default
    return call.unit.mode.values[page.code, page.subpage]


def _block_descriptor(call: Call, *, wide: bool) -> bytes:
    """SBC-3 6.5.2: number of blocks, block length; the short form says FFFFFFFFh for what it can't hold."""
    unit = call.unit
    if wide:
        return unit.block_count.to_bytes(8) + bytes(4) + unit.block_size.to_bytes(4)
    return min(unit.block_count, 0xFFFFFFFF).to_bytes(4) + unit.block_size.to_bytes(4)


def mode_select(call: Call) -> None:
    """MODE SELECT(6) and (10): checks the whole list, then takes it at once."""
    if not call.cdb[1] & 0x10:
        raise invalid_field(1, "Mode pages are taken in page format only.", bit=4)
    if call.cdb[1] & 0x01:
        raise invalid_field(1, "Mode pages can't be saved.", bit=0)
    length = call.list_bytes
    if length == 0:
        return
    data = call.data_out[:length]
    position = _check_header(call, data, length)
    with call.unit.lock:
        values = dict(call.unit.mode.values)
        while position < len(data):
            position = _take_page(data, position, values)
        if values == call.unit.mode.values:
            return
        call.unit.mode.values = values
        call.unit.attend(codes.MODE_PARAMETERS_CHANGED, but=call.nexus)
        call.unit.changed()


def _check_header(call: Call, data: bytes, length: int) -> int:
    """Checks header and block descriptor; gives the position of the first page."""
    long = call.cdb[0] == 0x55
    header_bytes = 8 if long else 4
    if len(data) < length or len(data) < header_bytes:
        raise list_too_short("The mode parameter list ends inside its header.")
    descriptor_bytes = int.from_bytes(data[6:8]) if long else data[3]
    if any(data[: 2 if long else 1]):
        raise invalid_parameter(0, "MODE DATA LENGTH is reserved in MODE SELECT.")
    wide = long and bool(data[4] & 0x01)
    if descriptor_bytes not in (0, 16 if wide else 8):
        raise invalid_parameter(6 if long else 3, "The unit takes one block descriptor or none.")
    end = header_bytes + descriptor_bytes
    if len(data) < end:
        raise list_too_short("The mode parameter list ends inside its block descriptor.")
    if descriptor_bytes:
        blocks_bytes = 8 if wide else 4
        blocks = int.from_bytes(data[header_bytes : header_bytes + blocks_bytes])
        size = int.from_bytes(data[end - (4 if wide else 3) : end])
        unlimited = (1 << 8 * blocks_bytes) - 1
        if blocks not in (0, call.unit.block_count, unlimited) or size != call.unit.block_size:
            raise invalid_parameter(header_bytes, "Block count and block length can't be changed.")
    return end


def _take_page(data: bytes, position: int, values: dict[tuple[int, int], bytes]) -> int:
    """Checks the page at `position`, puts its value in place and gives the position behind it."""
    header_bytes = 4 if data[position] & 0x40 else 2
    if len(data) < position + header_bytes:
        raise list_too_short("The mode parameter list ends inside a page header.")
    subpage = data[position + 1] if header_bytes == 4 else 0
    page = BY_CODE.get((data[position] & 0x3F, subpage))
    if page is None or (header_bytes == 4) != bool(page.subpage):
        raise invalid_parameter(position, f"There is no mode page {data[position] & 0x3F:02X}h/{subpage:02X}h.")
    if data[position + 1 : position + header_bytes] != page.default[1:header_bytes]:
        raise invalid_parameter(position + header_bytes - 1, f"The {page.name} page has another length.")
    end = position + len(page.default)
    if len(data) < end:
        raise list_too_short(f"The mode parameter list ends inside the {page.name} page.")
    current = values[page.code, page.subpage]
    for index in range(header_bytes, len(page.default)):
        if (data[position + index] ^ current[index]) & ~page.mask[index]:
            raise invalid_parameter(position + index, f"This field of the {page.name} page can't be changed.")
    values[page.code, page.subpage] = current[:header_bytes] + data[position + header_bytes : end]
    return end
