"""Simulated connections between initiators and a server: what is sent arrives in pieces, whenever chance wants it."""

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from goldherd.reactor.events_out import EventQueue
from goldherd.reactor.inmemory import InMemoryReactor

FIRST_NUMBER = 1000
"""Descriptors of simulated sockets begin here, far from real ones."""
CUTS = (1, 20, 47, 48, 49, 300, 5000, 100_000)


class _Stream:
    """One direction."""

    def __init__(self) -> None:
        self.sent = bytearray()
        """On its way."""
        self.arrived = bytearray()
        self.ended = False
        """Nothing more will be sent."""
        self._waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take(self, count: int) -> bytes:
        """What has arrived; BlockingIOError for nothing."""
        if not self.arrived and not (self.ended and not self.sent):
            raise BlockingIOError
        taken = bytes(self.arrived[:count])
        del self.arrived[:count]
        return taken

    async def receive(self, count: int) -> bytes:
        """At most so many bytes; empty at the end."""
        while not self.arrived:
            if self.ended and not self.sent:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        taken = bytes(self.arrived[:count])
        del self.arrived[:count]
        return taken


class ServerSocket:
    """What the server takes for a socket."""

    def __init__(self, pipe: "Pipe") -> None:
        self._pipe = pipe
        self._number = pipe.number

    def fileno(self) -> int:
        return self._number

    def detach(self) -> int:
        number, self._number = self._number, -1
        return number

    def close(self) -> None:
        self._number = -1
        self._pipe.server_closes()

    def getsockname(self) -> tuple[str, int]:
        return "10.0.0.1", 3260

    def setblocking(self, flag: bool) -> None:
        """Nothing blocks here."""

    def setsockopt(self, *option: int) -> None:
        """Nothing to set."""

    def recv(self, count: int) -> bytes:
        """What has arrived; BlockingIOError for nothing."""
        return self._pipe.to_server.take(count)

    async def receive(self, count: int) -> bytes:
        return await self._pipe.to_server.receive(count)

    def send(self, data: bytes) -> None:
        if self._pipe.broken:
            raise ConnectionResetError("the initiator has gone")
        self._pipe.to_initiator.sent += data


@dataclass(eq=False)
class Pipe:
    """One connection. The initiator's end is receive(), send(), close() and reset()."""

    number: int
    to_server: _Stream = field(default_factory=_Stream)
    to_initiator: _Stream = field(default_factory=_Stream)
    place: "tuple[SimulatedReactor, int, int] | None" = None
    """The reactor that serves it, session id and connection number; None during login."""
    broken: bool = False
    """The initiator has reset it: what the server sends comes back as an error."""
    told: bool = False
    """The reactor knows that it has ended."""

    @property
    def reactor_must_look(self) -> bool:
        """Something came that login has not read, or the end."""
        stream = self.to_server
        return self.place is not None and not self.told and (bool(stream.arrived) or stream.ended)

    async def receive(self, count: int) -> bytes:
        return await self.to_initiator.receive(count)

    def send(self, data: bytes) -> None:
        if not self.to_server.ended:
            self.to_server.sent += data

    def close(self) -> None:
        """What was sent still arrives."""
        self.to_server.ended = True
        self.to_server.wake()

    def reset(self) -> None:
        """The machine lost its power, and what was on its way is lost."""
        self.to_server.sent.clear()
        self.broken = True
        self.close()

    def server_closes(self) -> None:
        self.to_initiator.ended = True
        self.to_initiator.wake()


class SimulatedReactor(InMemoryReactor):
    """A reactor whose sockets are pipes and whose jobs end when chance wants it."""

    def join(self, network: "Network", loop: asyncio.AbstractEventLoop) -> None:
        """Before its first connection."""
        self.network, self.loop, self.began_ms = network, loop, self.clock_ms
        self.defer_jobs()

    def attach(self, session_id: int, fd: int, *more: Any) -> None:
        super().attach(session_id, fd, *more)
        residual_and_connection = (*more[4:], 0, 0)
        self.network.pipes[fd].place = self, session_id, residual_and_connection[1]

    def step_once(self) -> bool:
        """As an event loop calls it."""
        self.tick(self.began_ms + int(self.loop.time() * 1000))
        self.network.collect()
        return False


class Network:
    """All connections of a simulation."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.jobs_hang_until = 0.0
        """The disk does nothing before."""
        self.pipes: dict[int, Pipe] = {}
        self.reactors: list[SimulatedReactor] = []
        self._numbers = itertools.count(FIRST_NUMBER)
        self._calling: list[Pipe] = []
        self._accepts: Callable[[], object] | None = None

    def make_reactor(self, number: int, events: EventQueue) -> SimulatedReactor:
        """For Server."""
        reactor = SimulatedReactor(number, events)
        reactor.join(self, asyncio.get_running_loop())
        self.reactors.append(reactor)
        return reactor

    def clock(self) -> float:
        """Seconds of the simulation."""
        return asyncio.get_running_loop().time()

    def connect(self) -> Pipe:
        """A connection; the server hears of it later."""
        pipe = Pipe(next(self._numbers))
        self.pipes[pipe.number] = pipe
        self._calling.append(pipe)
        return pipe

    def listen(self, accepts: Callable[[], object] | None) -> None:
        """`accepts` is called for each connection from now on; None: for none any more."""
        self._accepts = accepts

    def accept(self) -> tuple[ServerSocket, tuple[str, int]]:
        """The next connection, and the peer's address, whose port is the connection's number."""
        pipe = self._calling.pop(0)
        return ServerSocket(pipe), ("10.0.1.1", pipe.number)

    # --- what can happen ---

    def something(self) -> bool:
        """One piece arrives, one job ends, one connection comes or goes."""
        choices: list[tuple[Any, ...]] = []
        if self.clock() >= self.jobs_hang_until:
            choices += [(reactor,) for reactor in self.reactors if reactor.jobs]
        if self._calling and self._accepts is not None:
            choices.append((self._accepts,))
        for pipe in list(self.pipes.values()):
            if pipe.to_initiator.ended and not pipe.to_initiator.sent:
                del self.pipes[pipe.number]
            elif pipe.to_server.sent or pipe.reactor_must_look:
                choices.append((pipe, pipe.to_server))
            if pipe.to_initiator.sent:
                choices.append((pipe, pipe.to_initiator))
        if not choices:
            return False
        match self.chance.choice(choices):
            case (SimulatedReactor() as reactor,):
                reactor.finish_job(self.chance.randrange(reactor.jobs))
                self.collect()
            case (happen,):
                happen()
            case (pipe, stream):
                self._move(pipe, stream)
        return True

    def _move(self, pipe: Pipe, stream: _Stream) -> None:
        count = self.chance.choice(CUTS)
        part = bytes(stream.sent[:count])
        del stream.sent[:count]
        if stream is pipe.to_server and pipe.place is not None:
            self._into_reactor(pipe, part)
        else:
            stream.arrived += part
            stream.wake()

    def _into_reactor(self, pipe: Pipe, part: bytes) -> None:
        assert pipe.place is not None
        reactor, session_id, connection = pipe.place
        late = bytes(pipe.to_server.arrived)  # came when the login was complete and the reactor did not have it yet
        pipe.to_server.arrived.clear()
        if late + part and reactor.is_open(session_id, connection):
            pipe.to_initiator.sent += reactor.receive(session_id, late + part, connection)
        if pipe.to_server.ended and not pipe.to_server.sent:
            pipe.told = True
            if reactor.is_open(session_id, connection):
                reactor.hang_up(session_id, connection)
        self.collect()

    def collect(self) -> None:
        """Takes what reactors have sent and closed."""
        for pipe in self.pipes.values():
            if pipe.place is None or pipe.to_initiator.ended:
                continue
            reactor, session_id, connection = pipe.place
            pipe.to_initiator.sent += reactor.sent(session_id, connection)
            if not reactor.is_open(session_id, connection):
                pipe.told = True
                pipe.server_closes()
