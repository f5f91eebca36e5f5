"""One command on its way through the room: what a handler is given, what it gives back.

Also the record that describes a command. The list of all commands is in commands.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeAlias

from goldherd import limits
from goldherd.scsi.sam import Access, Direction, Need, Status
from goldherd.scsi.state.device import LogicalUnit
from goldherd.scsi.state.nexus import Nexus


@dataclass(slots=True)
class Reply:
    """The answer to one command.

    `aborts` are the nexuses whose tasks on the unit must be aborted before the answer leaves (PREEMPT AND
    ABORT).
    `proceeds` says that the data plane may serve the read itself, without a copy of its data.
    `after` is to be called on a thread that may sleep once the answer is on its way: what IMMED=1 postponed.
    """

    status: int = Status.GOOD
    sense: bytes = b""
    data_in: bytes = b""
    aborts: tuple[Nexus, ...] = ()
    after: Callable[[], None] | None = None
    proceeds: bool = False
    lacks_space: bool = False
    """Whether nothing but a lack of space is reported: the command may be tried again."""
    overflows: bool = False
    """Whether the residual tells how much more data the CDB names than the initiator expected (RFC 7143 11.4.5.1)."""


def _never() -> bool:
    return False


@dataclass(slots=True)
class Call:
    """One command being executed."""

    nexus: Nexus
    unit: LogicalUnit
    command: "Command"
    cdb: bytes
    data_out: bytes = b""
    table: "Sequence[Command]" = ()
    """All commands, for those that report them."""
    aborted: Callable[[], bool] = field(default=_never)
    """Whether the task was aborted; long commands ask between their steps."""
    data_plane: bool = False
    """Whether reads are only judged here, and served by the caller."""

    def number(self, offset: int, length: int) -> int:
        """A big-endian field of the CDB."""
        return int.from_bytes(self.cdb[offset : offset + length])

    @property
    def list_bytes(self) -> int:
        """PARAMETER LIST LENGTH."""
        return self.command.list_bytes(self.cdb)


class TaskAbortedError(Exception):
    """Unwinds a long command whose task was aborted; its status is not sent."""


Handler: TypeAlias = Callable[[Call], bytes | Reply | None]
"""Does the work; gives the whole parameter data (execute() cuts it), a Reply, or nothing."""
Lengths: TypeAlias = Callable[[bytes, int], int]
"""(CDB, block size) -> bytes of data-out that the CDB asks for."""


WITH_ACTIONS: Final = frozenset({0x48, 0x5E, 0x5F, 0x83, 0x84, 0x9E, 0xA3, 0xA4})
"""Operation codes whose commands are told apart by a service action (SPC-4, SBC-3)."""
SERVICE_ACTION: Final = 0x1F
"""SERVICE ACTION in byte 1."""
NACA: Final = 0x04
"""In CONTROL, the last byte."""


@dataclass(frozen=True)
class Command:
    """One line of the command table.

    `usage` is the CDB as SPC-4 6.35.3 describes it, in hex: the operation code, then for each byte the bits that are
    evaluated. `..` is a byte that is reserved but ignored, because initiators in the field fill it; a bit that is 0
    in any other byte must be 0, else 05/24/00. `al` is a byte of ALLOCATION LENGTH, `pl` one of PARAMETER LIST
    LENGTH. The last byte is CONTROL: of it only NACA is looked at. A service action stands in the low five bits of
    byte 1, as its value.
    """

    name: str
    usage: str
    handler: Handler
    direction: Direction = Direction.NONE
    medium: Need = Need.NOTHING
    access: Access | Callable[[bytes], Access] | None = Access.STATUS
    """None: the handler decides itself."""
    length: Lengths | None = None
    """None: PARAMETER LIST LENGTH says how much data-out the CDB asks for, if it has one."""
    exact: bool = False
    """Whether an expected data-out length that differs from the CDB's is refused."""
    blocking: bool = False
    """Does image I/O, so it may sleep."""
    exclusive: bool = False
    """Must run while no other command of the unit writes."""
    passes_attention: bool = False
    """Executed although a unit attention is pending (SAM-5 5.14)."""
    survives_abort: bool = False
    """Goes on when its task is aborted, and by any reset (SANITIZE, SBC-3 4.11.1)."""
    thin_only: bool = False
    """Exists on thin provisioned units only."""

    @cached_property
    def usage_map(self) -> bytes:
        """CDB USAGE DATA, one byte per byte of the CDB."""
        marks = {"..": 0x00, "al": 0xFF, "pl": 0xFF}
        return bytes(marks[part] if part in marks else int(part, 16) for part in self.usage.split())

    @property
    def opcode(self) -> int:
        """OPERATION CODE."""
        return self.usage_map[0]

    @property
    def action(self) -> int | None:
        """SERVICE ACTION; None when the operation code has none."""
        return self.usage_map[1] & SERVICE_ACTION if self.opcode in WITH_ACTIONS else None

    @property
    def cdb_length(self) -> int:
        """Bytes of the CDB."""
        return len(self.usage_map)

    @cached_property
    def allocation(self) -> tuple[int, int]:
        """Offset and size of ALLOCATION LENGTH; (0, 0) when the CDB has none."""
        return _field(self.usage, "al")

    @cached_property
    def _parameter_list(self) -> tuple[int, int]:
        return _field(self.usage, "pl")

    @cached_property
    def forbidden(self) -> int:
        """The bits that must be 0, as one big-endian number over the whole CDB."""
        ignored = [part == ".." for part in self.usage.split()]
        mask = bytearray(0 if skip else bits ^ 0xFF for skip, bits in zip(ignored, self.usage_map, strict=True))
        mask[0] = 0
        if self.action is not None:
            mask[1] &= ~SERVICE_ACTION
        mask[-1] = NACA  # NormACA is 0
        return int.from_bytes(mask)

    def list_bytes(self, cdb: bytes) -> int:
        """PARAMETER LIST LENGTH of a CDB; 0 when it has none."""
        offset, size = self._parameter_list
        return int.from_bytes(cdb[offset : offset + size])

    def data_out_bytes(self, cdb: bytes, block_size: int) -> int:
        """How many bytes of data-out this CDB asks for; 0 when it is refused whatever they are."""
        if self.length is not None:
            return self.length(cdb, block_size)
        length = self.list_bytes(cdb)
        return length if length <= limits.PARAMETER_LIST_BYTES_MAX else 0

    def available(self, unit: LogicalUnit) -> bool:
        """Whether that unit has this command."""
        return unit.thin or not self.thin_only

    @property
    def repeatable(self) -> bool:
        """Whether a command that stopped half way may begin again: it only writes data of its own."""
        return self.medium is Need.WRITABLE and not self.exclusive

    def access_of(self, cdb: bytes) -> Access | None:
        """How this CDB behaves under reservations; None when its handler decides."""
        return self.access(cdb) if callable(self.access) else self.access


def _field(usage: str, mark: str) -> tuple[int, int]:
    """Offset and size of the bytes that have this mark."""
    parts = usage.split()
    return (parts.index(mark), parts.count(mark)) if mark in parts else (0, 0)
