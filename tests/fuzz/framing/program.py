"""PDUs in full feature phase under fuzz: an input is a small program for a data plane without sockets.

How a program is written stands in language.py. Here it is run: initiator, disks, clock and control plane are all in
its hands, and the compiled data plane (reactor/inmemory.pyx) is what it is run against.

What must hold: no answer but whole PDUs that RFC 7143 allows, and when all is over no task, buffer, job or connection.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import product
from typing import Final

from goldherd.limits import SENSE_BYTES_MAX
from goldherd.model.parameters import Parameters
from goldherd.reactor.events_out import ClosedEvent, CommandEvent, EventQueue, FailedEvent, RequestEvent
from goldherd.reactor.inmemory import InMemoryReactor
from goldherd.scsi.fastpath.unit import NexusFlag
from goldherd.session.codes import PduFlag
from goldherd.wire.digest import crc32c
from goldherd.wire.opcodes import Opcode

from tests.fuzz.framing import language
from tests.fuzz.framing.language import OTHER_CONNECTION, Agreed, Control, Fill, Input, Kind, Marks, Sending, number_of
from tests.fuzz.framing.records import TEMPLATES
from tests.fuzz.framing.surroundings import DISK_BYTES, FILLING, SESSION, SLOW, End, units
from tests.session.initiator import Pdu

REQUEST: Final = 5
RECORDS_MAX: Final = 100
PDUS_MAX: Final = 300
SENT_BYTES_MAX: Final = 600_000
"""What one program may do, so that none takes long; enough to fill the command window and its immediate places."""
REPLIES: Final = tuple(
    product((0, 2, 8, 0x28), (b"", bytes(18), bytes(SENSE_BYTES_MAX)), (0, 36, 5000, 300000), (None, 0, 512, 1 << 40))
)
"""Status, sense, bytes of data, bytes the command block asked for."""
ANSWERS: Final = {
    Opcode.TEXT_REQUEST: Opcode.TEXT_RESPONSE,
    Opcode.LOGOUT_REQUEST: Opcode.LOGOUT_RESPONSE,
    Opcode.TASK_MANAGEMENT_REQUEST: Opcode.TASK_MANAGEMENT_RESPONSE,
}


class Program:
    """One run of one input."""

    def __init__(self, data: bytes) -> None:
        self.input = Input(data)
        agreed, row = self.input.number(), self.input.number()
        sizes = language.SIZES[row % len(language.SIZES)]
        parameters = Parameters(
            bool(agreed & Agreed.HEADER_DIGEST),
            bool(agreed & Agreed.DATA_DIGEST),
            *sizes,
            initial_r2t=bool(agreed & Agreed.INITIAL_R2T),
            immediate_data=bool(agreed & Agreed.IMMEDIATE_DATA),
        )
        self.reactor = InMemoryReactor(0, EventQueue())
        self.reactor.defer_jobs()
        self.units = units()
        start = 0xFFFFFFF8 if agreed & Agreed.NEAR_WRAP else 1
        first = End(
            parameters=parameters,
            reactor=self.reactor,
            units=self.units,
            session_id=SESSION,
            cmd_sn=start,
            stat_sn=start,
        )
        first.nexuses[SLOW].flags = int(NexusFlag.SLOW_ALL)
        first.make_room(None)
        self.ends = [first, first]
        self.everybody = [first]
        if agreed & Agreed.TWO_CONNECTIONS:
            self.join(1)
        self.outgoing = {0: b"", 1: b""}
        self.r2ts: list[Pdu] = []
        self.data_sn = self.answered = 0
        self.events: list[CommandEvent | FailedEvent | RequestEvent] = []
        self.closed: set[int] = set()
        self.sent = self.pdus = 0
        self.last = Sending(0, 0, 0, bytes(48), b"")

    # --- the initiator ---

    def join(self, place: int) -> None:
        """A further connection of the session, which takes this place from now on."""
        connection = len(self.everybody)
        end = End(parameters=self.ends[0].parameters, joins=self.ends[0], connection=connection, reinstates=True)
        end.make_room(None)
        self.everybody.append(end)
        self.ends[place] = end

    def take(self, pdus: Iterable[Pdu]) -> None:
        """Notes what answers ask for."""
        self.r2ts += [pdu for pdu in pdus if pdu.opcode == Opcode.READY_TO_TRANSFER]

    def deliver(self, place: int, data: bytes) -> None:
        """Bytes on their way to the target."""
        self.take(self.ends[place].send(data))

    def answer_r2t(self, header: bytearray, length: int, too_much: int) -> int:
        """Makes the header ask for nothing but what the oldest R2T wants; how many bytes it is to carry."""
        r2t = self.r2ts[0]
        left = r2t.desired_length - self.answered
        if not too_much:
            length = min(length, left)
        header[16:24] = r2t.header[16:24]
        header[36:40] = self.data_sn.to_bytes(4, "big")
        header[40:44] = ((r2t.offset + self.answered) & 0xFFFFFFFF).to_bytes(4, "big")
        self.data_sn += 1
        self.answered += length
        if self.answered >= r2t.desired_length:
            header[1] |= 0x80
        if header[1] & 0x80:
            del self.r2ts[0]
            self.data_sn = self.answered = 0
        return length

    def count(self, end: End, header: bytearray) -> None:
        """The PDU gets the session's next number, and uses it up if the target will count it."""
        header[24:28] = end.cmd_sn.to_bytes(4, "big")
        counts = not header[0] & 0x40 and header[0] not in (Opcode.DATA_OUT, Opcode.SNACK_REQUEST)
        if counts and (end.max_cmd_sn is None or (end.max_cmd_sn - end.cmd_sn) & 0xFFFFFFFF < 1 << 31):
            end.cmd_sn = (end.cmd_sn + 1) & 0xFFFFFFFF

    def pdu(self, op: int, place: int) -> None:
        """Marks, length of the data, header, additional headers."""
        marks, length, header = self.input.number(), number_of(self.input.bytes(2)), self.input.bytes(48)
        self.last = Sending(op, marks, length, header, self.input.bytes(4 * header[4]))
        self.send(self.last, place)

    def send(self, wanted: Sending, place: int) -> None:
        """One PDU, filled in as it asks for."""
        end, op, header = self.ends[place], wanted.op, bytearray(wanted.header)
        length = min(wanted.length, len(FILLING))
        self.pdus += 1
        if self.sent + length > SENT_BYTES_MAX:
            return
        if op & Fill.TAGGED and header[0] & 0x3F != Opcode.DATA_OUT:
            header[16:20] = end.next_itt().to_bytes(4, "big")
        elif op & Fill.TAGGED and self.r2ts:
            longest = end.parameters.max_recv_data_segment
            length = self.answer_r2t(header, min(length or longest, longest), wanted.marks & Marks.TOO_MUCH)
        self.sent += length
        if op & Fill.NUMBERED:
            self.count(end, header)
        if op & Fill.MEASURED:
            header[5:8] = length.to_bytes(3, "big")
        head = bytes(header) + wanted.additional
        if end.parameters.header_digest:
            head += (crc32c(head) ^ bool(wanted.marks & Marks.BAD_HEADER_DIGEST)).to_bytes(4, "little")
        data = FILLING[:length] + bytes(-length % 4)
        if data and end.parameters.data_digest:
            data += (crc32c(data) ^ bool(wanted.marks & Marks.BAD_DATA_DIGEST)).to_bytes(4, "little")
        whole = self.outgoing[place] + head + data
        cut = min(language.CUTS[wanted.marks & 7], len(whole))
        if op & Fill.LATER or wanted.marks & Marks.LATER:
            cut = len(whole)
        self.outgoing[place] = whole[len(whole) - cut :]
        if cut < len(whole):
            self.deliver(place, whole[: len(whole) - cut])

    def raw(self, op: int, place: int) -> None:
        """A length, then bytes as they are, behind those that were held back; or the number of a PDU."""
        if op >> 4:
            self.short(TEMPLATES[(op >> 4) - 1], place)
            return
        segment, self.outgoing[place] = self.outgoing[place] + self.input.bytes(self.input.number()), b""
        self.deliver(place, segment)

    def short(self, template: Sending, place: int) -> None:
        """Marks and length of the data of a PDU that is known by its number."""
        marks, length = self.input.number(), number_of(self.input.bytes(2))
        self.last = replace(template, marks=marks, length=length)
        self.send(self.last, place)

    def room(self, op: int, place: int) -> None:
        """The far end takes so much and no more."""
        self.take(self.ends[place].make_room(language.ROOMS[op >> 4]))
        self.deliver(place, b"")

    def again(self, op: int, place: int) -> None:
        """The PDU before, some times more; or the far end closes."""
        times = language.AGAIN[op >> 4]
        for _ in range(min(times, PDUS_MAX - self.pdus)):
            self.send(self.last, place)
        if times == 0:
            self.reactor.hang_up(SESSION, self.ends[place].connection)

    # --- time, disks and the control plane ---

    def tick(self, op: int, place: int) -> None:
        """Some seconds pass."""
        self.reactor.tick(self.reactor.clock_ms + 1000 * self.input.number())

    def job(self, op: int, place: int) -> None:
        """One of the deferred jobs is done."""
        if self.reactor.jobs:
            self.reactor.finish_job((op >> 4) % self.reactor.jobs)

    def hear(self) -> None:
        """Events to the control plane: what may be answered, and which connections have ended."""
        for event in self.reactor.take_events():
            if isinstance(event, ClosedEvent):
                self.closed.add(event.connection)
            elif isinstance(event, CommandEvent | FailedEvent | RequestEvent):
                self.events.append(event)

    def event(self, op: int, place: int) -> None:
        """The control plane answers one of its events, in one of many ways."""
        way = self.input.number()
        self.hear()
        if not self.events:
            return
        event = self.events.pop((op >> 4) % len(self.events))
        if isinstance(event, CommandEvent | FailedEvent):
            if way < len(REPLIES) or not may_proceed(event):
                status, sense, count, written = REPLIES[way % len(REPLIES)]
                self.reactor.reply(event.session_id, event.tag, status, sense, FILLING[:count], written)
            else:
                self.reactor.proceed(event.session_id, event.tag)
        else:
            opcode = ANSWERS[Opcode(event.header[0] & 0x3F)]
            count = min((0, 3, 512, 8192)[way & 3], self.ends[0].parameters.max_send_data_segment)
            answer = control_pdu(opcode, event.header[16:20], FILLING[:count])
            self.reactor.send_pdu(
                event.session_id, b"" if way & 4 else answer, PduFlag.PDU_TAKES_STAT_SN | way >> 3 & 6, event.tag
            )
        self.reactor.step()

    def control(self, op: int, place: int) -> None:
        """The control plane does something on its own."""
        CONTROLS[op >> 4](self, self.ends[place])
        self.reactor.step()

    def quiesce(self) -> None:
        """An exclusive command runs on every unit; writes wait for its end."""
        for unit in self.units:
            unit.quiesce()

    def resume(self) -> None:
        """It is over."""
        for unit in self.units:
            unit.resume()
        self.reactor.wake()

    # --- the run ---

    def run(self) -> None:
        """All records, then the end of everything."""
        for _ in range(RECORDS_MAX):
            if not self.input:
                break
            op = self.input.number()
            KINDS[op & 7](self, op, 1 if op & OTHER_CONNECTION else 0)
        self.collect()
        self.end()

    def collect(self) -> None:
        """Everything that is still on its way comes, and it is whole."""
        for end in self.everybody:
            end.make_room(None)
        self.reactor.step()
        for end in self.everybody:
            end.parse(self.reactor.sent(SESSION, end.connection))
            end.check_whole()

    def end(self) -> None:
        """All connections are lost in the middle of their work."""
        for end in self.everybody:
            self.reactor.hang_up(SESSION, end.connection)
        self.reactor.close_session(SESSION)  # a place that was kept for a connection that never came
        self.reactor.step()
        while self.reactor.jobs:
            self.reactor.finish_job(0)
        self.hear()
        assert self.closed >= {end.connection for end in self.everybody}, "the end of a connection was not reported"
        assert (self.reactor.live_tasks, self.reactor.buffer_bytes, self.reactor.sessions) == (0, 0, 0)


def may_proceed(event: CommandEvent | FailedEvent) -> bool:
    """Whether a control plane might let the data plane serve it: a READ(16) that lies on its disk."""
    cdb, blocks = event.cdb, DISK_BYTES // 512
    lba, count = int.from_bytes(cdb[2:10], "big"), int.from_bytes(cdb[10:14], "big")
    return cdb[0] == 0x88 and event.nexus == SLOW and lba + count <= blocks


def newest_tag(end: End) -> bytes:
    """The Initiator Task Tag of the newest command that got a fresh one, as it is on the wire."""
    return end.numbers.itt.to_bytes(4, "big")


def control_pdu(opcode: Opcode, itt: bytes, data: bytes = b"") -> bytes:
    """A PDU of the control plane."""
    return bytes([opcode, 0x80, 0, 0]) + len(data).to_bytes(4, "big") + bytes(8) + itt + bytes(28) + data


KINDS: Final[dict[int, Callable[[Program, int, int], None]]] = {
    Kind.PDU: Program.pdu,
    Kind.RAW: Program.raw,
    Kind.TICK: Program.tick,
    Kind.AGAIN: Program.again,
    Kind.ROOM: Program.room,
    Kind.JOB: Program.job,
    Kind.EVENT: Program.event,
    Kind.CONTROL: Program.control,
}

CONTROLS: Final[dict[int, Callable[[Program, End], object]]] = {
    Control.CLOSE: lambda run, end: run.reactor.close_session(SESSION),
    Control.CLOSE_ONE: lambda run, end: run.reactor.close_connection(SESSION, end.connection),
    Control.REINSTATE: lambda run, end: run.reactor.close_connection(SESSION, end.connection, reinstated=True),
    Control.JOIN: lambda run, end: run.join(run.ends.index(end)),
    Control.EXPECT: lambda run, end: run.reactor.expect_connection(REQUEST, SESSION),
    Control.ABORT: lambda run, end: run.reactor.abort_task(REQUEST, SESSION, int.from_bytes(newest_tag(end), "little")),
    Control.ABORT_LOST: lambda run, end: run.reactor.abort_task(
        REQUEST, SESSION, 0, end.cmd_sn, end.cmd_sn + 8 & 0xFFFFFFFF
    ),
    Control.ABORT_ALL: lambda run, end: run.reactor.abort_session_tasks(REQUEST, SESSION, None),
    Control.ABORT_OLDER: lambda run, end: run.reactor.abort_session_tasks(
        REQUEST, SESSION, run.units[0], 3, end.cmd_sn
    ),
    Control.ABORT_UNIT: lambda run, end: run.reactor.abort_unit_tasks(REQUEST, run.units[1]),
    Control.DRAIN: lambda run, end: run.reactor.drain(REQUEST, run.units[0]),
    Control.DRAIN_WRITES: lambda run, end: run.reactor.drain_writes(REQUEST, SESSION),
    Control.QUIESCE: lambda run, end: run.quiesce(),
    Control.RESUME: lambda run, end: run.resume(),
    Control.ASYNC: lambda run, end: run.reactor.send_pdu(
        SESSION, control_pdu(Opcode.ASYNC_MESSAGE, b"\xff" * 4), PduFlag.PDU_TAKES_STAT_SN, connection=end.connection
    ),
    Control.REDECLARE: lambda run, end: run.reactor.send_pdu(
        SESSION,
        control_pdu(Opcode.TEXT_RESPONSE, b"\xff" * 4),
        PduFlag.PDU_TAKES_STAT_SN,
        connection=end.connection,
        max_send_segment=512,
    ),
}


def fuzz_framing(data: bytes) -> None:
    """Runs a program."""
    Program(data).run()
