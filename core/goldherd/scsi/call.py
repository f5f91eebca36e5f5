"""One command on its way through the room: what a handler is given, what it gives back.

Also the record that describes a command. The list of all commands is in commands.py.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from goldherd.scsi.device import LogicalUnit
    from goldherd.scsi.nexus import Nexus


class Status(enum.IntEnum):
    """SAM-5 5.3.1."""

    GOOD = 0x00
    CHECK_CONDITION = 0x02
    CONDITION_MET = 0x04
    BUSY = 0x08
    RESERVATION_CONFLICT = 0x18
    TASK_SET_FULL = 0x28
    TASK_ABORTED = 0x40


class Direction(enum.Enum):
    """Which way the data of a command goes."""

    NONE = "none"
    IN = "in"
    OUT = "out"


class Medium(enum.Enum):
    """What a command needs of the medium, checked before its LBA range."""

    NOT_NEEDED = "not needed"
    """Works while the medium is absent or being sanitized."""
    READY = "ready"
    WRITABLE = "writable"
    SANITIZABLE = "sanitizable"
    """Writable, but a SANITIZE that failed may be behind it."""


class Access(enum.Enum):
    """How a command behaves under a reservation that another nexus holds (SPC-4 5.13.1, SPC-2 5.5.1)."""

    FREE = "free"
    """Never conflicts: INQUIRY and what else SPC-2 lets pass beside RESERVE."""
    STATUS = "status"
    """Passes every persistent reservation, conflicts with RESERVE."""
    READ = "read"
    """Conflicts with RESERVE and with the exclusive access types."""
    WRITE = "write"
    """Conflicts with every reservation whose holder (or registrant, where the type says so) it is not."""


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
    aborts: "tuple[Nexus, ...]" = ()
    after: Callable[[], None] | None = None
    proceeds: bool = False


def _never() -> bool:
    return False


@dataclass(slots=True)
class Call:
    """One command being executed."""

    nexus: "Nexus"
    unit: "LogicalUnit"
    command: "Command"
    cdb: bytes
    data_out: bytes = b""
    table: "Sequence[Command]" = ()
    """All commands, for those that report them."""
    aborted: Callable[[], bool] = field(default=_never)
    """Whether the task was aborted; long commands ask between their steps."""
    data_plane: bool = False
    """Whether reads are only judged here, and served by who asked."""

    def number(self, offset: int, length: int) -> int:
        """A big-endian field of the CDB."""
        return int.from_bytes(self.cdb[offset : offset + length])


class TaskAbortedError(Exception):
    """Unwinds a long command whose task was aborted; nobody sees its status."""


Handler: TypeAlias = Callable[[Call], bytes | Reply | None]
"""Does the work; gives the whole parameter data (execute() cuts it), a Reply, or nothing."""
Lengths: TypeAlias = Callable[[bytes, int], int]
"""(CDB, block size) -> bytes of data-out that the CDB asks for."""


@dataclass(frozen=True)
class Command:
    """One line of the command table.

    `usage` is the CDB as SPC-4 6.35.3 describes it, in hex: the operation code, then for each byte the bits
    that are evaluated. `..` is a byte that is reserved but ignored, because initiators in the field fill it;
    a bit that is 0 in any other byte must be 0, else 05/24/00. The last byte is CONTROL: of it only NACA is
    looked at. A service action stands in the low five bits of byte 1, as its value.
    """

    name: str
    usage: str
    handler: Handler
    action: int | None = None
    direction: Direction = Direction.NONE
    medium: Medium = Medium.NOT_NEEDED
    access: Access | Callable[[bytes], Access] | None = Access.STATUS
    """None: the handler decides itself."""
    length: Lengths | None = None
    exact: bool = False
    """Whether an expected data-out length that differs from the CDB's is refused."""
    allocation: tuple[int, int] | None = None
    """Offset and size of the ALLOCATION LENGTH field."""
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
        return bytes(0 if part == ".." else int(part, 16) for part in self.usage.split())

    @property
    def opcode(self) -> int:
        """OPERATION CODE."""
        return self.usage_map[0]

    @property
    def cdb_length(self) -> int:
        """Bytes of the CDB."""
        return len(self.usage_map)

    @cached_property
    def forbidden(self) -> int:
        """The bits that must be 0, as one big-endian number over the whole CDB."""
        parts = self.usage.split()
        mask = bytearray(0 if part == ".." else int(part, 16) ^ 0xFF for part in parts)
        mask[0] = 0
        if self.action is not None:
            mask[1] &= 0xE0
        mask[-1] = 0x04  # NACA: NormACA is 0
        return int.from_bytes(mask)

    def data_out_bytes(self, cdb: bytes, block_size: int) -> int:
        """How many bytes of data-out this CDB asks for; 0 when it is refused whatever they are."""
        return self.length(cdb, block_size) if self.length else 0

    def available(self, unit: "LogicalUnit") -> bool:
        """Whether that unit has this command."""
        return unit.thin or not self.thin_only

    def access_of(self, cdb: bytes) -> Access | None:
        """How this CDB behaves under reservations; None when its handler decides."""
        return self.access(cdb) if callable(self.access) else self.access
