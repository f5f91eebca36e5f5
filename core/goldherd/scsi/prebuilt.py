"""Answers made ahead for the data plane: to commands that initiators repeat and whose answers rarely change.

Each is made by the command's own handler, so it can't differ from what execute() would say. They hold until
`unit.on_change` is called, and only for a nexus whose flags allow it.
"""

from dataclasses import dataclass
from typing import Final

from goldherd.scsi.call import NACA, Call, Command
from goldherd.scsi.commands import TABLE, lookup
from goldherd.scsi.identification.inquiry import PAGES
from goldherd.scsi.state.device import LogicalUnit
from goldherd.scsi.state.nexus import Nexus

_CDB_BYTES: Final = 16
_MODE_PAGES: Final = (0x3F, 0x08, 0x0A, 0x1C)
_DBD: Final = 0x08
_IDENTIFICATION: Final = 0x83


@dataclass(frozen=True, slots=True)
class Prebuilt:
    """GOOD with `answer` for every CDB with `cdb == CDB & mask`, cut to the allocation length in the CDB."""

    cdb: bytes
    mask: bytes
    answer: bytes
    allocation_at: int
    allocation_bytes: int
    """0: there is no allocation length, the whole answer goes out."""


def prebuilt(unit: LogicalUnit) -> list[Prebuilt]:
    """All the answers, the most frequent first."""
    nexus = unit.target.nexus("", bytes(6))
    return [_build(unit, nexus, cdb.ljust(_CDB_BYTES, b"\x00")) for cdb in _cdbs(unit)]


def _cdbs(unit: LogicalUnit) -> list[bytes]:
    cdbs = [b"\x00", b"\x03", b"\x12", b"\x25", b"\x9e\x10", b"\xa0"]
    several_ports = len(unit.target.portal_group_tags) > 1
    cdbs += [
        bytes([0x12, 0x01, page]) for page in PAGES if page != _IDENTIFICATION or not several_ports
    ]  # what that page says depends on the port through which it is asked
    cdbs += [bytes([opcode, dbd, page]) for opcode in (0x1A, 0x5A) for page in _MODE_PAGES for dbd in (0, _DBD)]
    cdbs += [b"\xa3\x0c\x00", b"\xa3\x0c\x80"]
    return cdbs


def _build(unit: LogicalUnit, nexus: Nexus, cdb: bytes) -> Prebuilt:
    command = lookup(cdb)
    if command is None:
        raise LookupError(f"no command for {cdb.hex()}")
    answer = command.handler(Call(nexus, unit, command, cdb[: command.cdb_length], table=TABLE))
    allocation_at, allocation_bytes = command.allocation
    return Prebuilt(cdb, _mask(command), answer if isinstance(answer, bytes) else b"", allocation_at, allocation_bytes)


def _mask(command: Command) -> bytes:
    """All bits that are looked at, but for the allocation length."""
    mask = bytearray(0x00 if part == ".." else 0xFF for part in command.usage.split())
    mask[-1] = NACA
    offset, length = command.allocation
    mask[offset : offset + length] = bytes(length)
    return bytes(mask.ljust(_CDB_BYTES, b"\x00"))
