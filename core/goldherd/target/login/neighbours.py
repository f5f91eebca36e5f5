"""Which MAC address a neighbour has, as the kernel's neighbour table says (rtnetlink(7), RTM_GETNEIGH).

Known is only who is attached to the same network as we are, and who has spoken to us lately: a peer that has just sent
a SYN has.
"""

import socket
import struct
from collections.abc import Iterator
from typing import Final

from goldherd import limits
from goldherd.model.access import Address

RTM_GETNEIGH: Final = 30
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NDA_DST, _NDA_LLADDR = 1, 2
_HEADER: Final = struct.Struct("=IHHII")
_NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")
_ATTRIBUTE: Final = struct.Struct("=HH")
_MAC_BYTES: Final = 6


def mac_of(address: Address) -> str | None:
    """The MAC address of a neighbour, small letters and colons; None when the kernel doesn't know it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    request = _NEIGHBOUR.pack(family, 0, 0, 0, 0)
    length = _HEADER.size + len(request)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as link:
        link.send(_HEADER.pack(length, RTM_GETNEIGH, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0) + request)
        while True:
            data = link.recv(limits.NETLINK_ANSWER_BYTES)
            for kind, payload in _messages(data):
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return None
                attributes = dict(_attributes(payload[_NEIGHBOUR.size :]))
                hardware = attributes.get(_NDA_LLADDR, b"")
                if attributes.get(_NDA_DST) == address.packed and len(hardware) == _MAC_BYTES:
                    return hardware.hex(":")


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each netlink message."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if not _HEADER.size <= length <= len(data) - at:
            return
        yield kind, data[at + _HEADER.size : at + length]
        at += length + -length % 4


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each attribute."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size <= length <= len(data) - at:
            return
        yield kind, data[at + _ATTRIBUTE.size : at + length]
        at += length + -length % 4
