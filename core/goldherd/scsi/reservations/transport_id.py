"""TransportIDs of iSCSI: initiator ports as parameter lists name them (SPC-4 7.6.4.6)."""

import re

from goldherd.limits import TRANSPORT_ID_NAME_BYTES_MAX
from goldherd.scsi.sense import invalid_parameter

_PROTOCOL_ISCSI = 0x05
_WITH_ISID = 0x40
_HEADER_BYTES = 4
_PORT = re.compile(r"(?P<name>.+),i,0x(?P<isid>[0-9a-fA-F]{1,12})")


def encode(initiator_port: str) -> bytes:
    """The TransportID of "name,i,0xISID"; at least 20 bytes of name, a multiple of four, NUL at the end."""
    name = initiator_port.encode() + b"\x00"
    name += bytes(max(20 - len(name), -len(name) % 4))
    return bytes([_WITH_ISID | _PROTOCOL_ISCSI, 0]) + len(name).to_bytes(2) + name


def decode(data: bytes, at: int) -> tuple[str, bool, int]:
    """The TransportID at `at` of a parameter list: (name, whether it holds an ISID, bytes it takes).

    With an ISID the name is an initiator port as Nexus.initiator_port writes it, else an initiator's iSCSI
    name. Raises: CommandError 05/26/00 for what is no iSCSI TransportID.
    """
    if len(data) < at + _HEADER_BYTES or data[at] & ~_WITH_ISID != _PROTOCOL_ISCSI:
        raise invalid_parameter(at, "That is no TransportID of iSCSI.")
    length = int.from_bytes(data[at + 2 : at + 4])
    end = at + _HEADER_BYTES + length
    if not 0 < length <= TRANSPORT_ID_NAME_BYTES_MAX or length % 4 or len(data) < end or data[end - 1]:
        raise invalid_parameter(at + 2, "The TransportID has a wrong length.")
    try:
        name = data[at + _HEADER_BYTES : end].rstrip(b"\x00").decode()
    except UnicodeDecodeError:
        raise invalid_parameter(at + _HEADER_BYTES, "The name in the TransportID is not UTF-8.") from None
    if not data[at] & _WITH_ISID:
        return name, False, end - at
    port = _PORT.fullmatch(name)
    if port is None:
        raise invalid_parameter(at + _HEADER_BYTES, "The name in the TransportID has no ISID.")
    return f"{port['name']},i,0x{port['isid'].lower().zfill(12)}", True, end - at
