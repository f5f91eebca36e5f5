"""INQUIRY: the standard data and the vital product data pages (SPC-4 6.6 and 7.8, SBC-3 6.6)."""

from collections.abc import Callable
from typing import Final

from goldherd import limits
from goldherd.scsi.call import Call
from goldherd.scsi.copying.third_party_page import third_party_copy
from goldherd.scsi.fields import fields
from goldherd.scsi.sense import invalid_field
from goldherd.scsi.state.device import LogicalUnit
from goldherd.scsi.state.space import threshold_exponent

VERSION_SPC_4: Final = 0x06
VERSION_DESCRIPTORS: Final = (0x00A0, 0x0960, 0x0460, 0x04C0)
"""SAM-5, iSCSI, SPC-4, SBC-3, none with a version claimed."""
PORT_GROUP: Final = 1
"""TARGET PORT GROUP of all ports of a target: whichever way a command comes, the same server carries it out."""
_PROTOCOL_ISCSI = 0x5
_BINARY, _ASCII, _UTF_8 = 1, 2, 3
_UNIT, _PORT, _DEVICE = 0, 1, 2
_VENDOR_ID, _EUI_64, _NAA, _RELATIVE_PORT, _PORT_GROUP, _NAME = 1, 2, 3, 4, 5, 8


def inquiry(call: Call) -> bytes:
    """INQUIRY."""
    if call.cdb[1] & 0x01:
        page = PAGES.get(call.cdb[2])
        if page is None:
            raise invalid_field(2, f"There is no vital product data page {call.cdb[2]:02X}h.")
        data = page(call)
        return bytes([0x00, call.cdb[2]]) + len(data).to_bytes(2) + data
    if call.cdb[2]:
        raise invalid_field(2, "PAGE CODE without EVPD.")
    return standard(call.unit)


def standard(unit: LogicalUnit) -> bytes:
    """Standard INQUIRY data (SPC-4 table 175)."""
    data = bytearray(96)
    data[1] = 0x80 if unit.removable else 0x00
    data[2] = VERSION_SPC_4
    data[3] = 0x12  # HISUP, response data format 2
    data[4] = len(data) - 5
    data[5] = 0x18  # implicit ALUA, third-party copy
    data[6] = 0x10  # MULTIP
    data[7] = 0x02  # CMDQUE
    data[8:16] = _text(unit.vendor, 8)
    data[16:32] = _text(unit.product, 16)
    data[32:36] = _text(unit.revision, 4)
    for index, version in enumerate(VERSION_DESCRIPTORS):
        data[58 + 2 * index : 60 + 2 * index] = version.to_bytes(2)
    return bytes(data)


def absent() -> bytes:
    """Standard INQUIRY data of a LUN that isn't there: peripheral qualifier 011b, type 1Fh (SPC-4 6.6.2)."""
    data = bytearray(36)
    data[0] = 0x7F
    data[2] = VERSION_SPC_4
    data[3] = 0x12
    data[4] = len(data) - 5
    data[8:36] = b" " * 28
    return bytes(data)


def _text(text: str, length: int) -> bytes:
    """Left-aligned printable ASCII, blank-filled."""
    printable = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return printable[:length].ljust(length).encode()


# --- vital product data, each page without its four bytes of header ---


def _supported_pages(call: Call) -> bytes:  # noqa: ARG001 - the signature of all pages
    return bytes(sorted(PAGES))


def _serial_number(call: Call) -> bytes:
    return call.unit.serial.encode()


def _identification(call: Call) -> bytes:
    """Designation descriptors (SPC-4 7.8.5): what Windows, ESXi and multipath know a disk by.

    Those of the target port are of the one through which it is asked.
    """
    unit, target = call.unit, call.unit.target
    vendor_id = _text(unit.vendor, 8) + unit.serial.encode()
    port = call.nexus.relative_port
    return b"".join(
        [
            designator(_BINARY, _UNIT, _NAA, unit.naa),
            designator(_BINARY, _UNIT, _EUI_64, unit.eui64),
            designator(_ASCII, _UNIT, _VENDOR_ID, vendor_id),
            designator(_UTF_8, _UNIT, _NAME, _name(f"naa.{unit.naa.hex().upper()}")),
            designator(_BINARY, _PORT, _RELATIVE_PORT, port.to_bytes(4)),
            designator(_BINARY, _PORT, _PORT_GROUP, PORT_GROUP.to_bytes(4)),
            designator(_UTF_8, _PORT, _NAME, _name(target.port_name(port))),
            designator(_UTF_8, _DEVICE, _NAME, _name(target.name)),
        ]
    )


def designator(code_set: int, association: int, kind: int, value: bytes) -> bytes:
    """One designation descriptor; those of ports and devices say which protocol they are of (PIV)."""
    protocol = _PROTOCOL_ISCSI << 4 if association else 0
    valid = 0x80 if association else 0
    return bytes([protocol | code_set, valid | association << 4 | kind, 0, len(value)]) + value


def _name(text: str) -> bytes:
    """A SCSI name string: UTF-8, ended by NUL, a multiple of four bytes (SPC-4 7.8.5.10)."""
    data = text.encode() + b"\x00"
    return data + bytes(-len(data) % 4)


def _extended_inquiry(call: Call) -> bytes:  # noqa: ARG001
    data = bytearray(0x3C)
    data[1] = 0x07  # HEADSUP, ORDSUP, SIMPSUP
    data[2] = 0x01  # V_SUP: a volatile cache
    data[3] = 0x01  # LUICLR
    data[9] = limits.SENSE_BYTES_MAX
    return bytes(data)


def _mode_page_policy(call: Call) -> bytes:  # noqa: ARG001
    """One descriptor for all pages and subpages: shared by all nexuses (SPC-4 7.8.9)."""
    return bytes([0x3F, 0xFF, 0x00, 0x00])


def _scsi_ports(call: Call) -> bytes:
    """SPC-4 7.8.13: every target port with its name; the ports of initiators are not told here."""
    target, ports = call.unit.target, b""
    for port in target.portal_group_tags:
        name = designator(_UTF_8, _PORT, _NAME, _name(target.port_name(port)))
        ports += bytes(2) + port.to_bytes(2) + bytes(6) + len(name).to_bytes(2) + name
    return ports


def _block_limits(call: Call) -> bytes:
    """SBC-3 6.6.3. The offsets below are those of the standard, which counts the page's header."""
    unit = call.unit
    size = unit.block_size
    granularity = max(unit.physical_block_size, 4096) // size
    atomic = limits.ATOMIC_BYTES_MAX // size
    page = {
        (4, 1): 0x01 if unit.wsnz else 0x00,
        (5, 1): limits.COMPARE_AND_WRITE_BLOCKS_MAX,
        (6, 2): unit.physical_block_size // size,
        (8, 4): limits.TRANSFER_BYTES_MAX // size,
        (12, 4): limits.STEP_BYTES // size,
        (16, 4): limits.TRANSFER_BYTES_MAX // size,
        (20, 4): limits.UNMAP_BLOCKS_MAX if unit.thin else 0,
        (24, 4): limits.UNMAP_DESCRIPTORS_MAX if unit.thin else 0,
        (28, 4): granularity if unit.thin else 0,
        (32, 4): 0x80000000 if unit.thin else 0,  # UGAVALID, alignment 0
        (44, 4): atomic,  # without alignment, granularity or boundary
    }
    return fields(64, page)[4:]


def _block_device_characteristics(call: Call) -> bytes:
    data = bytearray(0x3C)
    data[1] = 0x01  # MEDIUM ROTATION RATE 0001h: does not rotate
    data[3] = 0x50 if call.unit.thin else 0x00  # WABEREQ, WACEREQ 01b: after an erasing SANITIZE reads are fine
    return bytes(data)


def _provisioning(call: Call) -> bytes:
    """SBC-3 6.6.4: UNMAP and WRITE SAME give space back, and what was given back reads as zeros."""
    if not call.unit.thin:
        return bytes(4)
    exponent = threshold_exponent(call.unit.block_size)
    return bytes([exponent, 0xE0 | 0x04, 0x02, 0])  # LBPU LBPWS LBPWS10, LBPRZ; thin provisioned


PAGES: Final[dict[int, Callable[[Call], bytes]]] = {
    0x00: _supported_pages,
    0x80: _serial_number,
    0x83: _identification,
    0x86: _extended_inquiry,
    0x87: _mode_page_policy,
    0x88: _scsi_ports,
    0x8F: third_party_copy,
    0xB0: _block_limits,
    0xB1: _block_device_characteristics,
    0xB2: _provisioning,
}
