"""VPD page 8F: third-party copy, by which Windows decides to copy with tokens (SPC-4 7.8.17, SBC-3 6.6.9)."""

import uuid
from typing import Final

from goldherd import limits
from goldherd.scsi.call import Call
from goldherd.scsi.copying import extended_copy
from goldherd.scsi.fields import fields
from goldherd.scsi.state import rods

_COPY_GROUP: Final = bytes([0x10, 0])
"""A UUID designator without its header (SPC-5 7.7.18.4): units of one copy group copy between each other."""
_TOKEN_IN, _TOKEN_OUT = 0x02, 0x01
_ROD_TYPES: Final = (
    (rods.CHANGE_VULNERABLE, _TOKEN_IN | _TOKEN_OUT, 1),
    (rods.ZERO, _TOKEN_IN, 0),
)
"""ROD type, whether its tokens are taken and given, PREFERENCE INDICATOR."""


def third_party_copy(call: Call) -> bytes:
    """The third-party copy descriptors (SPC-4 7.8.17, SBC-3 6.6.9), by which Windows decides to use tokens."""
    size = call.unit.block_size
    actions: dict[int, list[int]] = {}
    for command in call.table:
        if command.opcode in (0x83, 0x84) and command.action is not None:
            actions.setdefault(command.opcode, []).append(command.action)
    commands = b"".join(bytes([opcode, len(list_), *list_]) for opcode, list_ in actions.items())
    token_limits = fields(
        32,
        {
            (6, 2): limits.ROD_RANGES_MAX,
            (8, 4): limits.ROD_INACTIVITY_SECONDS_MAX,
            (12, 4): limits.ROD_INACTIVITY_SECONDS,
            (16, 8): limits.ROD_BYTES_MAX // size,
            (24, 8): limits.ROD_BYTES_OPTIMAL // size,
        },
    )
    parameters = fields(
        28,
        {
            (4, 2): limits.COPY_CSCD_DESCRIPTORS_MAX,
            (6, 2): limits.COPY_SEGMENTS_MAX,
            (8, 4): extended_copy.LIST_BYTES_MAX,
        },
    )
    descriptors = bytes([extended_copy.BLOCK_TO_BLOCK, extended_copy.IDENTIFICATION_DESCRIPTOR])
    group = _COPY_GROUP + uuid.uuid5(uuid.NAMESPACE_OID, call.unit.target.name).bytes
    block_rod = b"\x00\x00\x00\x2c" + fields(
        44,
        {
            (2, 2): max(call.unit.physical_block_size, 4096) // size,
            (4, 8): limits.ROD_BYTES_MAX,
            (12, 8): limits.ROD_BYTES_OPTIMAL,
            (20, 8): limits.ROD_BYTES_OPTIMAL,
            (28, 8): limits.ROD_BYTES_OPTIMAL,
        },
    )
    features = fields(
        44,
        {
            (12, 4): limits.ROD_INACTIVITY_SECONDS,
            (16, 4): limits.ROD_LIFETIME_SECONDS_MAX,
            (20, 4): limits.ROD_INACTIVITY_SECONDS_MAX,
            (42, 2): len(block_rod),
        },
    )
    types = b"".join(
        kind.to_bytes(4) + bytes([flags, 0]) + preference.to_bytes(2) + bytes(56)
        for kind, flags, preference in _ROD_TYPES
    )
    return b"".join(
        kind.to_bytes(2) + (len(data) + -len(data) % 4).to_bytes(2) + data + bytes(-len(data) % 4)
        for kind, data in (
            (0x0000, token_limits),
            (0x0001, bytes([len(commands)]) + commands),
            (0x0004, parameters),
            (0x0008, bytes([len(descriptors)]) + descriptors),
            (0x000D, bytes([len(group)]) + group),
            (0x0106, features + block_rod),
            (0x0108, bytes(2) + len(types).to_bytes(2) + types),
        )
    )
