"""The successor's part of a hand-over: it takes a server over from the process that runs (giving.py).

The order is that of the other side: begin() before the data folder is touched, prepare() when the server is made,
take() in place of a start. Until this process has answered the word "go", the sockets and sessions belong to the other
process, and this one sends nothing to any client. Whatever fails here is told to the other process, which then goes on.
"""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog
from pydantic import ValidationError

import goldherd
from goldherd import limits
from goldherd.errors import GoldherdError
from goldherd.model.handover import STATE_VERSION, MovedServer, MovedSession, MovedTarget
from goldherd.model.targets import TargetConfig
from goldherd.reactor.handover import adopt_session
from goldherd.scsi.fastpath.unit import HotNexus
from goldherd.target.handover.capture import login_of, restore_closed, restore_nexus, restore_target
from goldherd.target.handover.channel import Channel, HandoverError
from goldherd.target.handover.giving import FORMAT
from goldherd.target.login.portals import allow_many_files
from goldherd.target.sessions import Connection, LunNexus, OpenTarget, Session

if TYPE_CHECKING:
    from goldherd.target.server import Server

log = structlog.get_logger("goldherd.handover")

READS: Final = (STATE_VERSION,)
"""The formats of the state that this version takes over."""
_WAIT_SECONDS: Final = (
    limits.HANDOVER_START_SECONDS
    + limits.HANDOVER_LOGINS_SECONDS
    + limits.HANDOVER_FLUSH_SECONDS
    + limits.HANDOVER_STILL_SECONDS
    + limits.HANDOVER_CLOSE_SECONDS
)
"""Longer than the other process may take for anything."""


class Taking:
    """Takes a server over.

    Args:
        descriptor: this process's end of the channel.
    """

    def __init__(self, descriptor: int) -> None:
        try:
            end = socket.socket(fileno=descriptor)
        except OSError:
            raise HandoverError(
                "There is no process to take over from: only a running daemon starts one that takes over."
            ) from None
        end.set_inheritable(False)
        self._channel = Channel(end)
        self._offer = MovedServer(targets=())
        self._descriptors: list[int] = []
        self._configs: dict[str, TargetConfig] = {}
        self._state: MovedServer | None = None
        self._told = False

    @contextmanager
    def telling(self) -> Iterator[None]:
        """The other process learns at once why this one can't take over; it does not wait for this one to clean up."""
        try:
            yield
        except GoldherdError as failure:
            self._tell(str(failure))
            raise
        except Exception as failure:
            self._tell(f"The new process met an error of its own ({type(failure).__name__}: {failure}).")
            raise

    def _tell(self, reason: str) -> None:
        if self._told:
            return
        self._told = True
        try:
            self._channel.send("refused", reason=reason)
        except HandoverError:
            log.info("the process before this one has ended")

    def begin(self) -> Mapping[str, int]:
        """Says which states this version reads, and learns what it will take over.

        Returns: the descriptors that both processes share, by name.
        """
        self._channel.send("hello", goldherd=goldherd.__version__, reads=list(READS))
        packet = self._channel.receive(limits.HANDOVER_START_SECONDS, "offer")
        self._offer = _read(packet.content)
        return dict(zip(packet.fields["names"], packet.descriptors, strict=True))

    async def prepare(self, server: "Server") -> None:
        """Does what can be done while the other process still serves: looks targets up, opens golden images."""
        with self.telling():
            await self._prepare(server)

    async def _prepare(self, server: "Server") -> None:
        allow_many_files()
        for record in self._offer.targets:
            await self._look_up(server, record)
            for lun in record.luns:
                if lun.parent is not None:
                    await server.run_in_thread(server.disks.golden, lun.parent, lun.parent_format)
        # All threads that will open disks are started now: later everybody would wait for that.
        await asyncio.gather(
            *(server.run_in_thread(time.sleep, limits.HANDOVER_LOOK_SECONDS) for _ in range(limits.CONTROL_THREADS))
        )
        await server.run_in_thread(self._channel.send, "ready")
        self._state = await asyncio.get_running_loop().run_in_executor(None, self._receive)

    def listening(self) -> dict[str, socket.socket]:
        """The sockets that accept connections, by what was asked for."""
        assert self._state is not None, "prepare() comes first"
        return {each.address: socket.socket(fileno=self._take(each.socket)) for each in self._state.listeners}

    async def take(self, server: "Server") -> None:
        """Opens the disks and makes the sessions; returns when this process is the one that serves."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(limits.HANDOVER_SWITCH_SECONDS)
        try:
            with self.telling():
                await self._take_all(server)
        finally:
            sys.setswitchinterval(interval)

    async def _take_all(self, server: "Server") -> None:
        state = self._state
        assert state is not None, "prepare() comes first"
        server.disks.restore_failures(state.failures)
        server.targets.remembered.update(restore_closed(state.closed))
        with server.disks.trusting():
            opened = await asyncio.gather(*(self._open(server, record) for record in state.targets))
        targets = dict(zip((record.name for record in state.targets), opened, strict=True))
        for record in state.sessions:
            self._make_session(server, record, targets)
        for target in opened:
            server.targets.release(target)  # one without a session is closed after a while
        server.count_on(state.counters)
        for descriptor in self._descriptors:
            if descriptor >= 0:
                os.close(descriptor)

        def agree() -> None:
            self._channel.send("taken")
            self._channel.receive(limits.HANDOVER_ANSWER_SECONDS, "go")
            self._channel.send("going")

        await asyncio.get_running_loop().run_in_executor(None, agree)
        self._channel.close()
        log.info("took over", sessions=len(state.sessions), targets=len(targets))

    async def finish(self, server: "Server") -> None:
        """What can wait until everything is served."""
        for target in server.targets.all():
            server.targets.publish(target)
            await asyncio.sleep(0)

    def _receive(self) -> MovedServer:
        while True:
            packet = self._channel.receive(_WAIT_SECONDS, "sockets", "state")
            if packet.kind == "state":
                return _read(packet.content)
            self._descriptors += packet.descriptors

    def _take(self, place: int) -> int:
        """A descriptor that came along, once."""
        if place >= len(self._descriptors) or self._descriptors[place] < 0:
            raise HandoverError(f"The state names the descriptor {place}, which did not come along.")
        descriptor, self._descriptors[place] = self._descriptors[place], -1
        return descriptor

    # --- disks ---

    async def _look_up(self, server: "Server", record: MovedTarget) -> TargetConfig:
        """A target as the catalog has it, with the disks that are open."""
        known = self._configs.get(record.name)
        if known is None:
            found = await server.directory.find(record.name)
            known = found or TargetConfig(record.name, (), access=frozenset(), node=record.node)
            self._configs[record.name] = known
        return replace(known, luns=record.luns)

    async def _open(self, server: "Server", record: MovedTarget) -> OpenTarget:
        config = await self._look_up(server, record)
        async with server.targets.lock(record.name):
            target = await server.targets.open(config, publish=False)
        restore_target(target, record)
        return target

    # --- sessions ---

    def _make_session(self, server: "Server", record: MovedSession, targets: Mapping[str, OpenTarget]) -> None:
        target = None if record.target is None else targets.get(record.target)
        if target is None and record.target is not None:
            raise HandoverError(f"The state has a session of {record.target}, but not its disks.")
        config = None if target is None else target.config
        reactor = server.sessions.choose_reactor()
        session = Session(server.sessions.next_id(), login_of(record.login, config), reactor, target)
        session.next_number = record.next_number
        for member in record.members:
            login = login_of(member.login, config)
            exchange = server.exchange(login, member.portal)
            exchange.restore(member.text, member.max_send_data_segment)
            session.connections[member.number] = Connection(member.number, login, exchange, member.portal)
        for each in record.nexuses:
            if target is None or each.lun not in target.units:
                raise HandoverError(f"The state has a session with the LUN {each.lun}, which is no disk of its target.")
            unit = target.units[each.lun]
            nexus = unit.unit.target.nexus(session.initiator, session.isid, session.login.portal_group)
            lun_nexus = LunNexus(unit, nexus, HotNexus(unit.hot, each.lun))
            nexus.on_flags = lun_nexus.follow
            session.luns[each.lun] = lun_nexus
            restore_nexus(nexus, unit.unit, each)
            lun_nexus.follow(nexus)
        server.sessions.add(session)
        try:
            adopt_session(
                reactor,
                session.id,
                record.numbers,
                {lun: lun_nexus.hot for lun, lun_nexus in session.luns.items()},
                {member.number: self._take(member.socket) for member in record.members},
            )
        except ValueError as failure:
            raise HandoverError(f"A session of {session.initiator} can't be taken over: {failure}.") from None


def _read(content: bytes) -> MovedServer:
    try:
        return FORMAT.validate_json(content)
    except ValidationError as failure:
        first = failure.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise HandoverError(f"The state can't be read: {where}: {first['msg']}.") from None
