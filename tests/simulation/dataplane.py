"""The data plane with simulated sockets and storage: one session, played again and again.

It is cut into random segments, its jobs are done in random order, its connection is lost at every byte, its tasks are
aborted at every step. Every run is one thread, and all that happens in it is decided by one seed.
"""

import random
from dataclasses import dataclass, field

from goldherd.block.memory import MemoryImage
from goldherd.reactor.events_out import ClosedEvent, CommandEvent, DoneEvent, EventQueue, NumberedEvent, RequestEvent
from goldherd.reactor.inmemory import InMemoryReactor
from goldherd.wire.opcodes import Opcode

from tests.session.initiator import SYNCHRONIZE_CACHE, Initiator, Pdu

DISK_BYTES = 1 << 20
OLD, NEW = b"\x11", b"\x22"
BLOCKS = (1, 8, 40)


class Disk(MemoryImage):
    """Its jobs are deferred; it remembers what a flush has made durable."""

    def __init__(self) -> None:
        super().__init__(DISK_BYTES)
        self.write(0, memoryview(OLD * DISK_BYTES))
        self.durable = bytes(self._data)

    def flush(self) -> None:
        self.durable = bytes(self._data)


@dataclass
class World:
    """One session of one or two connections, everything that happens to it decided by one seed."""

    seed: int
    connections: int = 1
    answered: dict[int, int] = field(default_factory=dict)
    """Initiator Task Tag to status."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.disk = Disk()
        self.reactor = InMemoryReactor(0, EventQueue())
        self.reactor.defer_jobs()
        small = {"max_burst": 8192, "first_burst": 4096, "max_recv_data_segment": 4096}
        first = Initiator([self.disk], reactor=self.reactor, **small)
        self.ends = [
            first,
            *(Initiator(joins=first, connection=connection, **small) for connection in range(1, self.connections)),
        ]
        self.writes: dict[int, tuple[int, bytes, bool]] = {}
        self.r2ts: list[tuple[Initiator, Pdu]] = []
        self.outgoing = [b""] * self.connections
        self.closed: list[ClosedEvent] = []

    def commands(self, count: int) -> list[tuple[Initiator, bytes]]:
        """A stream: reads, writes with and without FUA, flushes, pings; writes have blocks of their own."""
        stream = []
        for number in range(count):
            end = self.chance.choice(self.ends)
            kind, itt, lba = self.chance.random(), end.next_itt(), 64 * number
            if kind < 0.5:
                data, fua = NEW * (512 * self.chance.choice(BLOCKS)), self.chance.random() < 0.3
                self.writes[itt] = lba * 512, data, fua
                now = self.chance.choice((0, 512, 4096))
                stream.append((end, end.write(lba, data, sent=min(now, len(data)), fua=fua, itt=itt)))
            elif kind < 0.8:
                stream.append((end, end.read(lba, self.chance.choice(BLOCKS), itt=itt)))
            elif kind < 0.9:
                stream.append((end, end.command(SYNCHRONIZE_CACHE, itt=itt)))
            else:
                stream.append((end, end.other(Opcode.NOP_OUT, itt=itt, data=b"here?")))
        return stream

    def take(self, end: Initiator, pdus: list[Pdu]) -> None:
        """Notes answers and R2Ts; StatSN and MaxCmdSN are checked by the initiator."""
        for pdu in pdus:
            if pdu.opcode == Opcode.READY_TO_TRANSFER:
                self.r2ts.append((end, pdu))
            elif pdu.ends_command:
                assert pdu.itt not in self.answered, f"two answers to {pdu.itt}"
                self.answered[pdu.itt] = pdu.status

    def send(self, end: Initiator, segment: bytes) -> None:
        self.take(end, end.send(segment))
        self.hear()

    def hear(self) -> None:
        """What the data plane tells the control plane, which does nothing here but listen."""
        for event in self.reactor.take_events():
            if isinstance(event, ClosedEvent):
                self.closed.append(event)
            else:
                assert isinstance(event, DoneEvent | RequestEvent | CommandEvent), event

    def something(self) -> bool:
        """One thing that may happen now: a job ends, or Data-Out is sent; False when nothing can."""
        if self.reactor.jobs and (not self.r2ts or self.chance.random() < 0.5):
            self.reactor.finish_job(self.chance.randrange(self.reactor.jobs))
        elif self.r2ts:
            end, pdu = self.r2ts.pop(self.chance.randrange(len(self.r2ts)))
            data = self.writes[pdu.itt][1][pdu.offset : pdu.offset + pdu.desired_length]
            for at in range(0, len(data), 4096):
                last = at + 4096 >= len(data)
                self.outgoing[self.ends.index(end)] += end.data_out(
                    pdu.itt, pdu.offset + at, data[at : at + 4096], ttt=pdu.ttt, data_sn=at // 4096, final=last
                )
        else:
            return False
        for end in self.ends:
            self.take(end, end.send())
        self.hear()
        return True

    def play(self, stream: list[tuple[Initiator, bytes]], *, until: int | None = None) -> int:
        """Sends the streams of all ends in segments, things happening in between; how many steps it took.

        `until`: stops after so many steps.
        """
        for owner, part in stream:
            self.outgoing[self.ends.index(owner)] += part
        steps = 0
        while until is None or steps < until:
            steps += 1
            waiting = [number for number, rest in enumerate(self.outgoing) if rest]
            if waiting and self.chance.random() < 0.6:
                number = self.chance.choice(waiting)
                cut = self.chance.choice((1, 47, 48, 200, 5000))
                segment, self.outgoing[number] = self.outgoing[number][:cut], self.outgoing[number][cut:]
                self.send(self.ends[number], segment)
            elif not self.something() and not waiting:
                break
        return steps

    def settle(self) -> None:
        """Every job ends, in any order; then nothing may be left of anything."""
        while self.reactor.jobs:
            self.reactor.finish_job(self.chance.randrange(self.reactor.jobs))
        self.reactor.step()
        self.hear()

    def check_nothing_left(self) -> None:
        assert self.reactor.live_tasks == 0, "a task was left"
        assert self.reactor.buffer_bytes == 0, "a write buffer was left"

    def check_disk(self) -> None:
        """A block holds what it held or what its write brought; what was acknowledged is there."""
        now = self.disk.read(0, DISK_BYTES)
        for itt, (offset, data, fua) in self.writes.items():
            there = now[offset : offset + len(data)]
            assert set(there) <= {OLD[0], NEW[0]}
            if self.answered.get(itt) == 0:
                assert there == data, f"the write {itt} was acknowledged"
                assert not fua or self.disk.durable[offset : offset + len(data)] == data, f"FUA of {itt} was not kept"
        written = sum(len(data) for _, data, _ in self.writes.values())
        assert now.count(NEW[0]) <= written


def any_order(seed: int) -> None:
    """Segments of any length and jobs that end in any order, over one, two and three connections."""
    for connections in (1, 2, 3):
        world = World(seed, connections)
        world.play(world.commands(30))
        world.settle()
        assert set(world.writes) <= set(world.answered)
        assert set(world.answered.values()) == {0}
        world.check_disk()
        world.check_nothing_left()


def lost_at_every_byte(seed: int) -> None:
    """The stream ends after byte k, for each k: with jobs under way, R2Ts open, PDUs half received."""
    whole = b"".join(part for _, part in World(seed).commands(8))
    for cut in range(len(whole)):
        world = World(seed)
        world.commands(8)
        end = world.ends[0]
        world.send(end, whole[:cut])
        for _ in range(world.chance.randrange(4)):
            world.something()
        world.reactor.hang_up(end.session_id)
        world.settle()
        assert [event.last for event in world.closed] == [True], f"at byte {cut}"
        world.check_disk()
        world.check_nothing_left()


def one_of_two_lost(seed: int) -> None:
    """One connection of two is lost at every step; its session ends with it (RFC 7143 7.1.4.4)."""
    world = World(seed, 2)
    steps = world.play(world.commands(16))
    for step in range(steps):
        world = World(seed, 2)
        world.play(world.commands(16), until=step)
        world.reactor.hang_up(world.ends[0].session_id, step % 2)
        world.settle()
        assert sorted(event.last for event in world.closed) == [False, True], f"at step {step}"
        world.check_disk()
        world.check_nothing_left()


def aborted(seed: int) -> None:
    """Behind the report of an abort, at every step, nothing of its tasks reaches the disk or the initiator any more."""
    for scope in ("task", "session", "unit"):
        world = World(seed)
        steps = world.play(world.commands(16))
        for step in range(steps):
            world = World(seed)
            world.play(world.commands(16), until=step)
            _abort(world, scope, f"{scope}, at step {step}")


def _abort(world: World, scope: str, where: str) -> None:
    unit, session_id = world.ends[0].units[0], world.ends[0].session_id
    if scope == "unit":
        world.reactor.abort_unit_tasks(7, unit)
    elif scope == "session":
        world.reactor.abort_session_tasks(7, session_id, unit)
    else:
        for itt in world.writes:
            world.reactor.abort_task(8, session_id, int.from_bytes(itt.to_bytes(4), "little"))
        world.reactor.abort_session_tasks(7, session_id, None)
    done = False
    while not done:
        world.reactor.step()
        done = any(isinstance(event, DoneEvent) and event.request_id == 7 for event in world.reactor.take_events())
        if not done:
            assert world.reactor.jobs, f"{where}: the abort is never reported"
            world.reactor.finish_job(world.chance.randrange(world.reactor.jobs))
    before, answered = world.disk.read(0, DISK_BYTES), dict(world.answered)
    world.settle()
    assert world.disk.read(0, DISK_BYTES) == before, f"{where}: written after the abort"
    world.take(world.ends[0], world.ends[0].send())
    assert set(answered) <= set(world.answered)
    world.reactor.hang_up(session_id)
    world.settle()
    world.check_nothing_left()


def replaced(seed: int) -> None:
    """The only connection of a session is replaced again and again in the middle of its work."""
    world = World(seed)
    for connection in range(1, 12):
        old = world.ends[0]
        world.play(world.commands(4), until=world.chance.randrange(12))
        world.reactor.close_connection(old.session_id, old.connection, reinstated=True)
        world.reactor.step()
        world.settle()
        assert [event.last for event in world.closed] == [False] * connection
        world.r2ts.clear()
        world.outgoing = [b""]
        world.reactor.expect_connection(9, old.session_id)
        world.reactor.step()
        (numbered,) = world.reactor.take_events()
        assert isinstance(numbered, NumberedEvent) and numbered.numbers is not None
        fresh = Initiator(joins=old, connection=connection, reinstates=True, max_burst=8192, first_burst=4096)
        fresh.cmd_sn = numbered.numbers[0]
        world.ends = [fresh]
        world.send(fresh, fresh.read(0, 1, itt=(last := fresh.next_itt())))
        world.settle()
        world.take(fresh, fresh.send())
        assert world.answered[last] == 0
    world.reactor.close_session(world.ends[0].session_id)
    world.reactor.step()
    world.settle()
    assert world.closed[-1].last
    world.check_disk()
    world.check_nothing_left()
