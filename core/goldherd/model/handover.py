"""What one daemon hands over to the next: live sessions with all they have under way, as plain values.

These records are the format of the state that moves from a process to its successor, which may be of another version
(docs/upgrading.md). They are written as JSON, byte strings in Base64. A reader refuses a record that breaks a bound
or contradicts itself, before anything is made of it. STATE_VERSION counts every change that an older reader would
misunderstand; a new field with a default is none.

Numbers are those of RFC 7143; "told" means: sent, or among the bytes that are still to be sent.
"""

from dataclasses import field
from typing import Annotated, Final

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from goldherd import limits
from goldherd.model.parameters import Parameters
from goldherd.model.portals import Portal
from goldherd.model.targets import LunConfig

STATE_VERSION: Final = 1
"""The version of the format that this module describes."""

_RECORD: Final = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", extra="ignore")

U8 = Annotated[int, Field(ge=0, le=0xFF)]
U16 = Annotated[int, Field(ge=0, le=0xFFFF)]
U32 = Annotated[int, Field(ge=0, le=0xFFFFFFFF)]
U64 = Annotated[int, Field(ge=0, le=0xFFFFFFFFFFFFFFFF)]
Offset = Annotated[int, Field(ge=0, le=limits.IMAGE_BYTES_MAX)]
Name = Annotated[str, Field(max_length=limits.ISCSI_NAME_BYTES_MAX)]
Sense = tuple[U8, U8, U8]
"""Sense key, additional sense code and qualifier."""
Port = tuple[str, str]
"""Initiator port and target port."""


# --- the data plane ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedTask:
    """A command under way, or a PDU on its way to the initiator: session/state.pxd, struct Task."""

    connection: U32
    """The number of its connection."""
    phase: U8
    """PHASE_DATA_OUT, _BUFFER, _READ, _REPLY, _R2T, _WRITE or _PDU; a task in any other phase does not move."""
    purpose: U8
    queued: bool
    """Whether it stands in the send queue of its connection; the records of a queue stand in its order."""
    nexus: int | None
    """Its LUN; None for none."""
    itt: Annotated[bytes, Field(min_length=4, max_length=4)]
    """Initiator Task Tag."""
    ttt: U32
    """The Target Transfer Tag under which its data was asked for; 0: it was not."""
    cmd_sn: U32
    lun: Annotated[bytes, Field(min_length=8, max_length=8)]
    cdb: Annotated[bytes, Field(min_length=16, max_length=16)]
    offset: Offset
    """Bytes: where on the disk the transfer begins."""
    move: Offset
    """Bytes that will be moved."""
    done: Offset
    """Bytes moved."""
    cdb_bytes: Offset
    """Bytes that the command block asks for."""
    expected: U32
    """Expected Data Transfer Length."""
    data_sn: U32
    r2t_sn: U32
    burst_left: U32
    chunk: U32
    """Bytes that are collected, or sent, in the current step."""
    received: U32
    """Bytes of the chunk that have come."""
    allowed: U32
    """Bytes of the chunk that the initiator may send now."""
    room: Annotated[int, Field(ge=0, le=limits.PARAMETER_BYTES_MAX)]
    """The size of its write buffer; 0: it has none."""
    content: Annotated[bytes, Field(max_length=limits.PARAMETER_BYTES_MAX + limits.SENSE_BYTES_MAX + 48)]
    """Data-Out that has come; or sense data and Data-In; or the PDU."""
    status: U8
    sense_bytes: Annotated[int, Field(ge=0, le=limits.SENSE_BYTES_MAX)]
    flags: U8
    directions: U8
    immediate: bool
    fua: bool
    unsolicited: bool
    reminds: bool = False
    """The data that it has asked for is dropped: it waits for space on a full disk."""

    def __post_init__(self) -> None:
        if self.done > self.move or self.offset + self.move > limits.IMAGE_BYTES_MAX:
            raise ValueError(f"a transfer of {self.move} bytes at {self.offset} of which {self.done} are done")
        if self.room and not (
            self.received <= self.room
            and self.allowed <= self.room - self.received
            and (self.chunk <= self.room or self.reminds)
        ):
            raise ValueError(f"a buffer of {self.room} bytes for {self.received} and {self.allowed} more")
        if self.room and not self.received <= len(self.content) <= self.room:
            raise ValueError(f"{len(self.content)} bytes for a buffer of {self.room} with {self.received} in use")


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedSink:
    """A long PDU of which a part has come: its data goes straight to the buffer of a task."""

    header: Annotated[bytes, Field(min_length=48, max_length=48)]
    length: Annotated[int, Field(ge=1, le=limits.DATA_SEGMENT_BYTES_MAX)]
    """Bytes of its data segment."""
    left: U32
    """Of these, those to come."""
    tail: Annotated[int, Field(ge=0, le=7)]
    """Padding and digest behind it."""
    crc: U32
    """The digest of what has come, unfinished."""
    task: int | None
    """The index of its task in the record of the session; None: the data is dropped."""

    def __post_init__(self) -> None:
        if self.left > self.length:
            raise ValueError(f"{self.left} of {self.length} bytes are to come")


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedConnection:
    """One connection of a session: session/state.pxd, struct Connection."""

    number: U32
    stat_sn: U32
    """StatSN of the next response."""
    max_send_segment: Annotated[int, Field(ge=limits.SECTOR_BYTES, le=0xFFFFFF)]
    max_receive_segment: Annotated[int, Field(ge=limits.SECTOR_BYTES, le=limits.DATA_SEGMENT_BYTES_MAX)]
    max_burst: Annotated[int, Field(ge=limits.SECTOR_BYTES, le=0xFFFFFF)]
    first_burst: Annotated[int, Field(ge=0, le=limits.FIRST_BURST_BYTES_MAX)]
    initial_r2t: bool
    immediate_data: bool
    header_digest: bool
    data_digest: bool
    closing: bool
    """It ends when all is sent."""
    reason: U8
    """Why it ends; 0 when it does not."""
    answers_pings: bool
    ping_tag: U32
    received: Annotated[bytes, Field(max_length=limits.RECEIVE_BYTES + limits.DATA_SEGMENT_BYTES_MAX + 2048)]
    """Bytes received and not looked at."""
    unsent: Annotated[bytes, Field(max_length=2 * limits.BATCH_BYTES_MAX + limits.BATCH_DATA_BYTES)]
    """Bytes that the socket has not taken."""
    sink: MovedSink | None
    commands: U64
    read_bytes: U64
    write_bytes: U64


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedNumbers:
    """A session in the data plane: session/state.pxd, struct Session."""

    exp_cmd_sn: U32
    max_cmd_sn: U32
    """The highest MaxCmdSN told."""
    window: Annotated[int, Field(ge=1, le=1 << 16)]
    multiple: bool
    """Whether it has had more than one connection."""
    skipped: Annotated[tuple[U32, ...], Field(max_length=limits.COMMAND_WINDOW)]
    """Numbers behind a gap that count as received."""
    connections: Annotated[tuple[MovedConnection, ...], Field(min_length=1, max_length=limits.CONNECTIONS_MAX)]
    tasks: Annotated[tuple[MovedTask, ...], Field(max_length=4 * limits.COMMAND_WINDOW)]
    """In the order of their arrival; those of the send queues behind the others, in the order of their queue."""

    def __post_init__(self) -> None:
        numbers = [connection.number for connection in self.connections]
        if len(set(numbers)) < len(numbers):
            raise ValueError("two connections with one number")
        if any(task.connection not in numbers for task in self.tasks):
            raise ValueError("a task of no connection")
        for connection in self.connections:
            sink = connection.sink
            if sink is None or sink.task is None:
                continue
            if not 0 <= sink.task < len(self.tasks):
                raise ValueError("a PDU of no task")
            task = self.tasks[sink.task]
            if task.connection != connection.number or len(task.content) + sink.left > task.room:
                raise ValueError("the data of a PDU finds no room in its task")


# --- sessions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedLogin:
    """What the login of one connection agreed on (negotiation/host.py: LoginResult)."""

    initiator: Name
    initiator_alias: str
    isid: Annotated[bytes, Field(min_length=6, max_length=6)]
    tsih: Annotated[int, Field(ge=1, le=0xFFFF)]
    cid: U16
    cmd_sn: U32
    max_cmd_sn: U32
    stat_sn: U32
    parameters: Parameters
    authenticated: bool
    address: str
    """The initiator's."""
    portal: str
    portal_group: U16


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedText:
    """A Text exchange that is not complete (negotiation/text_exchange.py)."""

    last_tag: U32
    tag: U32
    itt: U32
    rounds: Annotated[int, Field(ge=0, le=limits.TEXT_ROUNDS_MAX)]
    collected: Annotated[bytes, Field(max_length=limits.TEXT_BYTES_MAX)]
    """Of the initiator's text, what has come."""
    pieces: tuple[bytes, ...]
    """Of our answer, what is still to be asked for."""


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedMember:
    """One connection of a session as the control plane knows it."""

    number: U32
    login: MovedLogin
    portal: Portal
    """Where it came in."""
    max_send_data_segment: Annotated[int, Field(ge=limits.SECTOR_BYTES, le=0xFFFFFF)]
    text: MovedText
    socket: Annotated[int, Field(ge=0)]
    """Which of the descriptors that came along is its socket."""


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedCopy:
    """A copy operation that is over, about which the initiator may still ask (scsi/state/copy_operations.py)."""

    list_identifier: U32
    action: U8
    progress: U8
    transferred_blocks: U64
    steps: U64
    sense: Sense
    token: Annotated[bytes, Field(max_length=512)]


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedCopyResult:
    """The outcome of an EXTENDED COPY command (scsi/state/nexus.py)."""

    list_identifier: U32
    segments: U32
    copied_bytes: U64
    sense: Annotated[bytes, Field(max_length=252)]


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedNexus:
    """What one logical unit knows of one session (scsi/state/nexus.py)."""

    lun: Annotated[int, Field(ge=0, lt=limits.LUNS_MAX)]
    attentions: Annotated[tuple[Sense, ...], Field(max_length=limits.UNIT_ATTENTIONS_MAX)]
    """Unit attentions that wait, the first to be reported first."""
    prevents_removal: bool
    reserves: bool
    """It holds the unit by RESERVE."""
    copy_results: tuple[MovedCopyResult, ...]
    copies: Annotated[tuple[MovedCopy, ...], Field(max_length=limits.COPY_OPERATIONS_MAX)]


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedSession:
    """One session in the full feature phase."""

    target: Name | None
    """None: a discovery session."""
    login: MovedLogin
    """That of its leading connection."""
    members: Annotated[tuple[MovedMember, ...], Field(min_length=1, max_length=limits.CONNECTIONS_MAX)]
    next_number: U32
    """That of its next connection."""
    nexuses: Annotated[tuple[MovedNexus, ...], Field(max_length=limits.LUNS_MAX)]
    numbers: MovedNumbers

    def __post_init__(self) -> None:
        if {member.number for member in self.members} != {each.number for each in self.numbers.connections}:
            raise ValueError("the connections of the two planes are not the same")
        if any(
            task.nexus is not None and task.nexus not in {n.lun for n in self.nexuses} for task in self.numbers.tasks
        ):
            raise ValueError("a task of a LUN that the session does not have")


# --- targets ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedReservations:
    """Persistent reservations of one unit (scsi/state/persistent.py), and the ports that it has met."""

    registrations: tuple[tuple[Port, U64], ...]
    type: U8
    holder: Port | None
    generation: U32
    aptpl: bool
    known_ports: Annotated[tuple[Port, ...], Field(max_length=limits.KNOWN_PORTS_MAX)]


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedUnit:
    """One logical unit of an open target (scsi/state/device.py)."""

    lun: Annotated[int, Field(ge=0, lt=limits.LUNS_MAX)]
    reservations: MovedReservations
    mode_pages: tuple[tuple[U8, U8, bytes], ...]
    """Code, subpage, current values."""
    clock_shift: int | None
    ejected: bool
    sanitize_failed: bool


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedRod:
    """A ROD token that may still be used (scsi/state/rods.py). Times are seconds of the system's monotonic clock."""

    identifier: U64
    lun: Annotated[int, Field(ge=0, lt=limits.LUNS_MAX)]
    ranges: Annotated[tuple[tuple[Offset, Offset], ...], Field(min_length=1, max_length=limits.ROD_RANGES_MAX)]
    creator: Port
    timeout_seconds: float
    ends_at: float
    idle_from: float
    token: Annotated[bytes, Field(min_length=512, max_length=512)]


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedRods:
    """The ROD tokens of a target, and what they are proved with."""

    key: Annotated[bytes, Field(min_length=32, max_length=32)]
    rods: Annotated[tuple[MovedRod, ...], Field(max_length=limits.ROD_TOKENS_MAX)]
    gone: Annotated[tuple[tuple[U64, Sense], ...], Field(max_length=limits.ROD_TOKENS_MAX)]
    """The latest tokens that have ended, and why."""


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedTarget:
    """A target whose disks are open."""

    name: Name
    node: str | None
    luns: Annotated[tuple[LunConfig, ...], Field(max_length=limits.LUNS_MAX)]
    """Its disks as they were opened, which may differ from what the catalog says meanwhile."""
    units: Annotated[tuple[MovedUnit, ...], Field(max_length=limits.LUNS_MAX)]
    rods: MovedRods | None


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedClosed:
    """What is remembered of a unit whose target is closed."""

    target: Name
    lun: Annotated[int, Field(ge=0, lt=limits.LUNS_MAX)]
    reservations: MovedReservations


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedFailure:
    """A disk that has failed and whose file carries no mark of it (target/disks.py)."""

    location: str
    file: tuple[int, int] | None
    """Device and inode."""
    number: U16
    """The errno of the sync that failed."""
    at: str
    """When."""


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedListener:
    """A socket that accepts connections."""

    address: str
    """What was asked for, with its portal group and what is announced."""
    socket: Annotated[int, Field(ge=0)]
    """Which of the descriptors that came along it is."""


@dataclass(frozen=True, slots=True, config=_RECORD)
class MovedServer:
    """All of a server. The records of the disks come twice: once early, so that the successor can get ready."""

    targets: tuple[MovedTarget, ...]
    sessions: Annotated[tuple[MovedSession, ...], Field(max_length=limits.SESSIONS_MAX)] = ()
    listeners: tuple[MovedListener, ...] = ()
    closed: tuple[MovedClosed, ...] = ()
    failures: tuple[MovedFailure, ...] = ()
    counters: dict[str, U64] = field(default_factory=dict)
    """The meters of the data plane, which go on."""
