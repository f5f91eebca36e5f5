"""The other end of an InMemoryReactor: builds PDUs as RFC 7143 lays them out and takes the answers apart."""

import select
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from struct import unpack_from
from typing import TYPE_CHECKING, Any, Final, TypeVar

from goldherd.block.image import Image
from goldherd.model.parameters import Parameters
from goldherd.reactor.events_out import CommandEvent, EventQueue, FailedEvent, RequestEvent
from goldherd.reactor.inmemory import InMemoryReactor
from goldherd.scsi.fastpath.unit import HotNexus, HotUnit
from goldherd.wire.digest import crc32c
from goldherd.wire.opcodes import Opcode

if TYPE_CHECKING:
    from goldherd.reactor.events_out import Event

Kind = TypeVar("Kind")
NO_TAG: Final = 0xFFFFFFFF
READ, WRITE, FINAL = 0x40, 0x20, 0x80
FAST: Final = Parameters(
    max_send_data_segment=262144, max_recv_data_segment=262144, max_burst=1048576, first_burst=262144, initial_r2t=False
)
"""What open-iscsi and libiscsi end up with here."""


@dataclass
class Pdu:
    """A PDU from the target: its header and its data segment without padding."""

    header: bytes
    data: bytes

    def __post_init__(self) -> None:
        header = self.header
        self.opcode, self.flags, self.reason, self.status = header[0] & 0x3F, header[1], header[2], header[3]
        self.final = bool(header[1] & FINAL)
        self.itt, self.ttt, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn = unpack_from(">5I", header, 16)
        self.data_sn, self.offset, self.residual = unpack_from(">3I", header, 36)
        self.desired_length = self.residual  # of an R2T

    @property
    def ends_command(self) -> bool:
        """Whether it carries the status of a SCSI command."""
        return self.opcode == Opcode.SCSI_RESPONSE or (self.opcode == Opcode.DATA_IN and bool(self.flags & 1))

    @property
    def residual_of(self) -> tuple[str, int]:
        """("U" or "O" or "", residual count)."""
        return {0: "", 2: "U", 4: "O"}[self.flags & 6], self.residual


def cdb_read(lba: int, blocks: int) -> bytes:
    """READ(16)."""
    return bytes([0x88, 0]) + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + bytes(2)


def cdb_write(lba: int, blocks: int, *, fua: bool = False) -> bytes:
    """WRITE(16)."""
    return bytes([0x8A, 8 if fua else 0]) + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + bytes(2)


INQUIRY: Final = bytes([0x12, 0, 0, 0, 255, 0]).ljust(16, b"\0")
SYNCHRONIZE_CACHE: Final = bytes([0x35]).ljust(16, b"\0")


def lun_field(lun: int) -> bytes:
    """Peripheral device addressing (SAM-5 4.7.7)."""
    return lun.to_bytes(2, "big") + bytes(6)


@dataclass
class Numbers:
    """What the connections of one session share."""

    cmd_sn: int
    itt: int = 100


class Initiator:
    """One connection of a session over an InMemoryReactor; a session of its own unless it `joins` another one's.

    Keeps what RFC 7143 asks of every stream of answers: StatSN in order, MaxCmdSN never decreasing, digests right.
    """

    def __init__(
        self,
        images: Iterable[Image] = (),
        parameters: Parameters = FAST,
        *,
        reactor: InMemoryReactor | None = None,
        session_id: int = 7,
        cmd_sn: int = 1,
        stat_sn: int = 1,
        flags: int = 0,
        block_size: int = 512,
        units: Iterable[HotUnit] = (),
        joins: "Initiator | None" = None,
        connection: int = 0,
        reinstates: bool = False,
        **changed: Any,
    ) -> None:
        self.parameters = replace(parameters, **changed)
        reactor = reactor if joins is None else joins.reactor
        self.events = EventQueue() if reactor is None else reactor.events
        self.reactor = InMemoryReactor(0, self.events) if reactor is None else reactor
        self.units = list(units) or [HotUnit(image, block_size) for image in images]
        self.nexuses = [HotNexus(unit, number, flags) for number, unit in enumerate(self.units)]
        self.session_id = session_id if joins is None else joins.session_id
        self.connection = connection
        self.numbers = Numbers(cmd_sn) if joins is None else joins.numbers
        self.stat_sn = stat_sn
        self.max_cmd_sn: int | None = None
        self.left = b""
        self.outgoing = b""
        luns = dict(enumerate(self.nexuses)) if joins is None else None
        self.reactor.connect(
            self.session_id,
            self.parameters,
            luns,
            exp_cmd_sn=cmd_sn,
            stat_sn=stat_sn,
            connection=connection,
            reinstates=reinstates,
        )

    @property
    def cmd_sn(self) -> int:
        """The number of the session's next command."""
        return self.numbers.cmd_sn

    @cmd_sn.setter
    def cmd_sn(self, number: int) -> None:
        self.numbers.cmd_sn = number

    # --- PDUs to the target ---

    def pdu(self, header: bytes | bytearray, data: bytes = b"", *, ahs: bytes = b"") -> bytes:
        """The bytes of a PDU, with lengths, padding and digests."""
        whole = bytearray(header.ljust(48, b"\0"))
        whole[4] = len(ahs) // 4
        whole[5:8] = len(data).to_bytes(3, "big")
        whole += ahs
        if self.parameters.header_digest:
            whole += crc32c(bytes(whole)).to_bytes(4, "little")
        padded = data + bytes(-len(data) % 4)
        if data and self.parameters.data_digest:
            padded += crc32c(padded).to_bytes(4, "little")
        return bytes(whole) + padded

    def next_itt(self) -> int:
        """A fresh Initiator Task Tag."""
        self.numbers.itt += 1
        return self.numbers.itt

    def command(
        self,
        cdb: bytes,
        *,
        expected: int = 0,
        data: bytes = b"",
        lun: int | bytes = 0,
        flags: int | None = None,
        final: bool = True,
        itt: int | None = None,
        immediate: bool = False,
        cmd_sn: int | None = None,
        ahs: bytes = b"",
    ) -> bytes:
        """A SCSI Command (RFC 7143 11.3)."""
        header = bytearray(48)
        header[0] = Opcode.SCSI_COMMAND | (0x40 if immediate else 0)
        if flags is None:
            flags = WRITE if data else READ if expected else 0
        header[1] = flags | (FINAL if final else 0)
        header[8:16] = lun if isinstance(lun, bytes) else lun_field(lun)
        header[16:20] = (self.next_itt() if itt is None else itt).to_bytes(4, "big")
        header[20:24] = expected.to_bytes(4, "big")
        header[24:28] = (self.cmd_sn if cmd_sn is None else cmd_sn).to_bytes(4, "big")
        header[32:48] = cdb.ljust(16, b"\0")
        if not immediate and cmd_sn is None:
            self.cmd_sn = (self.cmd_sn + 1) & 0xFFFFFFFF
        return self.pdu(header, data, ahs=ahs)

    def read(self, lba: int, blocks: int, expected: int | None = None, **more: Any) -> bytes:
        """READ(16) with a matching Expected Data Transfer Length."""
        expected = blocks * 512 if expected is None else expected
        return self.command(cdb_read(lba, blocks), expected=expected, **{"flags": READ, **more})

    def write(self, lba: int, data: bytes, *, sent: int | None = None, fua: bool = False, **more: Any) -> bytes:
        """WRITE(16) of whole blocks, `sent` bytes of it (default: all) as immediate data."""
        now = data if sent is None else data[:sent]
        cdb = cdb_write(lba, len(data) // 512, fua=fua)
        return self.command(cdb, **{"expected": len(data), "data": now, "flags": WRITE, **more})

    def data_out(
        self, itt: int, offset: int, data: bytes, *, ttt: int = NO_TAG, data_sn: int = 0, final: bool = True
    ) -> bytes:
        """A Data-Out (RFC 7143 11.7)."""
        header = bytearray(48)
        header[0] = Opcode.DATA_OUT
        header[1] = FINAL if final else 0
        header[16:20], header[20:24] = itt.to_bytes(4, "big"), ttt.to_bytes(4, "big")
        header[36:40], header[40:44] = data_sn.to_bytes(4, "big"), offset.to_bytes(4, "big")
        return self.pdu(header, data)

    def other(
        self,
        opcode: int,
        *,
        itt: int | None = None,
        ttt: int = NO_TAG,
        data: bytes = b"",
        immediate: bool = True,
        flags: int = FINAL,
        cmd_sn: int | None = None,
    ) -> bytes:
        """NOP-Out, Text, Logout, task management, or nonsense."""
        header = bytearray(48)
        header[0] = opcode | (0x40 if immediate else 0)
        header[1] = flags
        header[16:20] = (self.next_itt() if itt is None else itt).to_bytes(4, "big")
        header[20:24], header[24:28] = (
            ttt.to_bytes(4, "big"),
            (self.cmd_sn if cmd_sn is None else cmd_sn).to_bytes(4, "big"),
        )
        if not immediate and cmd_sn is None:
            self.cmd_sn = (self.cmd_sn + 1) & 0xFFFFFFFF
        return self.pdu(header, data)

    # --- answers ---

    def send(self, data: bytes = b"") -> list[Pdu]:
        """Hands over one segment; the PDUs that have come since."""
        return self.parse(self.reactor.receive(self.session_id, data, self.connection))

    def parse(self, received: bytes) -> list[Pdu]:
        """Takes answers apart and checks what must hold for all of them."""
        stream = self.left + received
        found, here = [], 0
        while len(stream) - here >= 48:
            header = stream[here : here + 48]
            length = int.from_bytes(header[5:8], "big")
            at = here + 48 + (4 if self.parameters.header_digest else 0)
            end = at + length + -length % 4
            whole = end + (4 if length and self.parameters.data_digest else 0)
            if len(stream) < whole:
                break
            if self.parameters.header_digest:
                assert stream[here + 48 : at] == crc32c(header).to_bytes(4, "little")
            if whole > end:
                assert stream[end:whole] == crc32c(stream[at:end]).to_bytes(4, "little")
            here = whole
            found.append(Pdu(header, stream[at : at + length]))
            self.check(found[-1])
        self.left = stream[here:]
        return found

    def check(self, pdu: Pdu) -> None:
        """RFC 7143 4.2.2: the numbers every answer carries; 13.12: no segment is longer than the initiator takes."""
        assert pdu.stat_sn == self.stat_sn
        assert len(pdu.data) <= self.parameters.max_send_data_segment
        carries = pdu.flags & 1 if pdu.opcode == Opcode.DATA_IN else pdu.opcode != Opcode.READY_TO_TRANSFER
        if carries and not (pdu.opcode == Opcode.NOP_IN and pdu.itt == NO_TAG):
            self.stat_sn = (self.stat_sn + 1) & 0xFFFFFFFF
        if self.max_cmd_sn is not None:
            assert (pdu.max_cmd_sn - self.max_cmd_sn) & 0xFFFFFFFF < 1 << 31, "MaxCmdSN has decreased"
        self.max_cmd_sn = pdu.max_cmd_sn
        assert (pdu.max_cmd_sn - pdu.exp_cmd_sn + 1) & 0xFFFFFFFF < 1 << 31

    def until(self, enough: Callable[[list[Pdu]], object], first: bytes = b"") -> list[Pdu]:
        """Sends `first`, then lets jobs and fetches end until the PDUs are enough."""
        pdus = self.send(first)
        while not enough(pdus):
            self.wait()
            pdus += self.send()
        return pdus

    def status(self, segment: bytes) -> list[Pdu]:
        """Everything up to the status of the one command in `segment`."""
        return self.until(has_status, segment)

    def wait(self) -> None:
        """Until a job or a fetch has ended."""
        assert select.select([self.reactor.descriptor], [], [], 30)[0], "nothing happens any more"

    def settle(self) -> None:
        """Until no job runs and nothing is suspended."""
        while self.reactor.busy:
            self.wait()
            self.reactor.step()

    def post(self) -> "list[Event]":
        """The events to the control plane since the last call."""
        return self.reactor.take_events()

    def event(self, kind: type[Kind]) -> Kind:
        """The only event there is, of this kind."""
        (event,) = self.post()
        assert isinstance(event, kind)
        return event

    def reply(self, event: "Event", status: int = 0, sense: bytes = b"", data: bytes = b"", **more: Any) -> list[Pdu]:
        """Answers a CommandEvent or a FailedEvent."""
        assert isinstance(event, CommandEvent | FailedEvent)
        self.reactor.reply(event.session_id, event.tag, status, sense, data, **more)
        return self.send()

    def answer(self, event: "Event", header: bytes, data: bytes = b"", flags: int = 1) -> list[Pdu]:
        """Answers a RequestEvent with a PDU."""
        assert isinstance(event, RequestEvent)
        whole = bytearray(header.ljust(48, b"\0"))
        whole[5:8] = len(data).to_bytes(3, "big")
        self.reactor.send_pdu(event.session_id, bytes(whole) + data, flags, event.tag)
        return self.send()

    @property
    def open(self) -> bool:
        """Whether the target still holds the connection."""
        return self.reactor.is_open(self.session_id, self.connection)


def has_status(pdus: list[Pdu]) -> bool:
    """Whether the last PDU carries the status of a command."""
    return bool(pdus) and pdus[-1].ends_command


def data_of(pdus: list[Pdu]) -> bytes:
    """The bytes of all Data-In, which must be in order and without a gap."""
    parts = [pdu for pdu in pdus if pdu.opcode == Opcode.DATA_IN]
    assert [pdu.data_sn for pdu in parts] == list(range(len(parts)))
    assert all(before.offset + len(before.data) == after.offset for before, after in pairwise(parts))
    return b"".join(pdu.data for pdu in parts)


def only(pdus: list[Pdu]) -> Pdu:
    """The one PDU there is."""
    assert len(pdus) == 1, pdus
    return pdus[0]
