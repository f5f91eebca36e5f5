"""Lets finished logins in: opens the target's disks, makes the session or joins it, and gives the socket to a reactor.

Theory of operation. For one target this happens one login at a time, under the target's lock. Whatever a new session
or connection replaces ends first, and completely: a write of the old one that is still on its way to the disk must not
land behind one of the new one (RFC 7143 6.3.5). When that takes too long, because the disk hangs, the new login is
refused and its initiator tries again; only reads may be left behind, since their data is sent to no initiator.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from goldherd import limits
from goldherd.errors import ImageError, ProtocolError
from goldherd.hooks import Hooks
from goldherd.model.access import Peer, peer_address
from goldherd.model.parameters import Parameters
from goldherd.model.portals import Portal, announced
from goldherd.model.targets import Directory, TargetConfig, TargetSummary
from goldherd.negotiation.discovery import send_targets
from goldherd.negotiation.host import LoginResult
from goldherd.negotiation.states import SessionAction, Status
from goldherd.negotiation.text_exchange import TextExchange
from goldherd.scsi.fastpath.unit import HotNexus
from goldherd.target.commands.drains import Drains
from goldherd.target.login.draining import Draining
from goldherd.target.login.logins import Arrival
from goldherd.target.login.resolver import LastKnownFacts, Resolver
from goldherd.target.open_targets import OpenTargets
from goldherd.target.sessions import LOADER_ISID, Connection, LunNexus, OpenTarget, Session, Sessions

log = structlog.get_logger("goldherd.target")


@dataclass(frozen=True, slots=True)
class Admission:
    """What it needs of the server.

    Args:
        resolver: the addresses of DNS names in access rules.
        login_seconds: tells how long a login waits for its target.
        draining: knows which logins are refused while the server drains.
        announced: the portals that discovery tells of.
        take_apart: ends a session that never began, and says why.
    """

    directory: Directory
    targets: OpenTargets
    sessions: Sessions
    hooks: Hooks
    drains: Drains
    resolver: Resolver
    login_seconds: Callable[[], float]
    announced: Callable[[], list[Portal]]
    take_apart: Callable[[Session, str], None]
    draining: Draining

    async def admit(self, arrival: Arrival) -> None:
        """Makes a session of a finished login; ProtocolError or ImageError when its disks can't be had."""
        login = arrival.login
        config = login.config
        if config is None:
            await self._hand_over(arrival, None)
            return
        async with self.targets.held(config.name, self.login_seconds()):
            if login.joins:
                await self._join(arrival)
                return
            self.draining.check(login, self.targets.get(config.name))
            await self._end_replaced(login)
            if login.isid.startswith(LOADER_ISID):
                await self._begin_boot(config)
            await self._hand_over(arrival, await self._open(config))
        self.directory.node_seen(config.name, login.initiator, login.address)

    async def _open(self, config: TargetConfig) -> OpenTarget:
        """The target with its disks open.

        Services refuse to remove or change a node whose disks are open. So the target that this login found is certain
        only when its disks are open: then the login asks again, and opens what the directory has now.
        """
        for _ in range(limits.LOGIN_OPENINGS_MAX):
            before = self.targets.get(config.name)
            try:
                open_target = await self.targets.open(config)
            except ImageError:  # perhaps because the target was removed or changed in the meantime
                current = await self.directory.find(config.name)
                if current is not None and current.luns == config.luns:
                    raise
            else:
                if open_target is before:
                    return open_target
                current = await self.directory.find(config.name)
                if current is not None and current.luns == config.luns:
                    return open_target
                await self.targets.undo(open_target)
            if current is None:
                raise ProtocolError(f"The target {config.name} has gone.", login_status=Status.REMOVED)
            config = current
        raise ProtocolError(
            f"The disks of {config.name} are changed again and again.", login_status=Status.SERVICE_UNAVAILABLE
        )

    async def _join(self, arrival: Arrival) -> None:
        """One more connection of a session, or one in place of another (RFC 7143 6.3.4).

        Looked up now, as for a new session: what the login met may have changed meanwhile.
        """
        login = arrival.login
        session = self.sessions.find(login.initiator, login.isid, login.target, login.portal_group)
        if session is None or session.tsih != login.tsih or session.ending:
            raise _session_gone(login)
        old = session.connection_of(login.cid)
        if old is None and len(session.connections) >= session.max_connections:
            raise ProtocolError(
                f"The session {login.tsih} has {len(session.connections)} connections already.",
                login_status=Status.TOO_MANY_CONNECTIONS,
            )
        if old is not None:
            await self._close_replaced(session, old)
        connection = session.add_connection(login, self.exchange(login, arrival.portal), arrival.portal)
        try:
            await asyncio.get_running_loop().sock_sendall(arrival.socket, arrival.response)
            session.reactor.attach(
                session.id,
                arrival.socket.fileno(),
                login.cmd_sn,
                login.stat_sn,
                _joined(session.login.parameters, login.parameters),
                None,
                arrival.residual,
                connection.number,
                old is not None,
            )
        except BaseException:
            session.connections.pop(connection.number, None)
            if old is not None:
                session.end("the connection that was to replace another one ended")
            raise
        arrival.socket.detach()  # the reactor's from now on
        log.info(
            "a connection was added to a session",
            target=login.target,
            initiator=login.initiator,
            address=login.address,
            cid=login.cid,
            connections=len(session.connections),
        )

    async def _close_replaced(self, session: Session, old: Connection) -> None:
        """Connection reinstatement is an implicit logout of the old connection; its session must outlast it."""
        session.reactor.close_connection(session.id, old.number, reinstated=True)
        try:
            await asyncio.wait_for(old.closed.wait(), limits.CLOSE_SECONDS)
        except TimeoutError:
            session.end("a connection of it could not be replaced: its disk hangs")
            raise ProtocolError(
                f"An old connection of {session.initiator} does not end: its disk hangs.",
                login_status=Status.SERVICE_UNAVAILABLE,
            ) from None
        if session.closed.is_set():
            raise _session_gone(session.login)

    async def _end_replaced(self, login: LoginResult) -> None:
        """Session reinstatement: the old session ends before the new one begins.

        Looked up now, not when the login decided: of two logins at once, the second replaces the first.
        """
        old = self.sessions.find(login.initiator, login.isid, login.target, login.portal_group)
        if old is not None:
            await self._end(old, "a new session took its place")

    async def _begin_boot(self, config: TargetConfig) -> None:
        """A boot loader logs in: a node with policy reset gets a fresh disk, any node the version that is active now.

        Only a loader is taken for the beginning of a boot: an operating system that comes back after a network
        failure must find what it wrote. Sessions of an operating system that are still open then belong to a machine
        that was reset; if there are only loaders', this one may have lost its connection in the middle of a boot, and
        goes on with the version it began with.
        """
        reset = config.policy == "reset"
        open_target = self.targets.get(config.name)
        if open_target is not None:
            outdated = open_target.config.luns != config.luns and not all(
                session.by_loader for session in open_target.sessions
            )
            if reset or outdated:
                await asyncio.gather(
                    *(self._end(session, "its machine boots anew") for session in open_target.sessions)
                )
                if not open_target.idle:  # a command that outlives its session, SANITIZE perhaps
                    raise ProtocolError(
                        f"The last boot of {config.name} still has I/O under way: its disk hangs.",
                        login_status=Status.SERVICE_UNAVAILABLE,
                    )
                await self.targets.close(open_target)
        if reset:
            await self.targets.renew(config)

    async def _end(self, session: Session, why: str) -> None:
        """Ends a session and waits until the reactor has let it go, or at least no write can reach the disk."""
        session.end(why)
        try:
            await asyncio.wait_for(session.closed.wait(), limits.CLOSE_SECONDS)
        except TimeoutError:
            if not await self._only_reads(session):
                raise ProtocolError(
                    f"An old session of {session.initiator} does not end: its disk hangs.",
                    login_status=Status.SERVICE_UNAVAILABLE,
                ) from None
            self.sessions.set_aside(session)
            log.warning("an old session still waits for reads: its disk hangs", target=session.target)

    async def _only_reads(self, session: Session) -> bool:
        if session.running:
            return False
        drained = self.drains.ask(lambda request_id: session.reactor.drain_writes(request_id, session.id))
        try:
            await asyncio.wait_for(drained, limits.DRAIN_SECONDS)
        except TimeoutError:
            return False
        return True

    async def _hand_over(self, arrival: Arrival, open_target: OpenTarget | None) -> None:
        login = arrival.login
        boots = open_target is not None and self._is_boot(login, open_target)
        session = Session(self.sessions.next_id(), login, self.sessions.choose_reactor(), open_target)
        connection = session.add_connection(login, self.exchange(login, arrival.portal), arrival.portal)
        if open_target is not None:
            for lun, unit in open_target.units.items():
                nexus = unit.unit.target.nexus(login.initiator, login.isid, login.portal_group)
                lun_nexus = LunNexus(unit, nexus, HotNexus(unit.hot, lun))
                nexus.on_flags = lun_nexus.follow
                session.luns[lun] = lun_nexus
                unit.unit.attach(nexus)
                lun_nexus.follow(nexus)
        self.sessions.add(session)
        try:
            await asyncio.get_running_loop().sock_sendall(arrival.socket, arrival.response)
            session.reactor.attach(
                session.id,
                arrival.socket.fileno(),
                login.cmd_sn,
                login.stat_sn,
                login.parameters,
                {lun: lun_nexus.hot for lun, lun_nexus in session.luns.items()},
                arrival.residual,
                connection.number,
            )
        except BaseException:
            self.take_apart(session, "the connection ended during the last response of its login")
            raise
        arrival.socket.detach()  # the reactor's from now on
        if open_target is not None:
            log.info(
                "a session was opened",
                target=login.target,
                initiator=login.initiator,
                address=login.address,
                isid=login.isid.hex(),
                node=open_target.config.node,
            )
            self.hooks.session_opened(session)
            if boots and open_target.config.node is not None:
                self.hooks.node_booted(open_target.config.node, session)

    @staticmethod
    def _is_boot(login: LoginResult, open_target: OpenTarget) -> bool:
        """The first session of a boot that isn't the loader's; one that replaces its own kind is none."""
        return (
            not login.isid.startswith(LOADER_ISID)
            and login.action is SessionAction.NEW
            and all(session.by_loader for session in open_target.sessions)
        )

    def exchange(self, login: LoginResult, portal: Portal) -> TextExchange:
        """The Text exchanges of a connection that came in at a portal."""
        return TextExchange(self._answer_send_targets(login, portal), login.parameters.max_send_data_segment)

    def _answer_send_targets(
        self, login: LoginResult, portal: Portal
    ) -> Callable[[str], Awaitable[list[tuple[str, str]] | None]]:
        async def visible() -> list[str]:
            targets = await self._visible_to(login)
            return await self.hooks.list_targets(login.initiator, login.portal, targets)

        async def answer(value: str) -> list[tuple[str, str]] | None:
            return await send_targets(value, login.target, visible, announced(portal, self.announced()))

        return answer

    async def _visible_to(self, login: LoginResult) -> Sequence[TargetSummary]:
        """The targets that admit an initiator, as far as the addresses of names are known.

        Names that must be looked up are looked up for the next time: discovery waits a moment for those that are new,
        and never for a name server that does not answer.
        """
        facts = LastKnownFacts(self.resolver)
        peer = Peer(login.initiator, peer_address(login.address), facts)
        targets = await self.directory.visible_to(peer)
        if facts.outdated and await self.resolver.refresh(facts.outdated):
            targets = await self.directory.visible_to(peer)
        return targets


def _joined(leading: Parameters, own: Parameters) -> Parameters:
    """What counts on a connection that joins a session: the session's agreement, and what each connection has of its
    own (RFC 7143 13: digests and MaxRecvDataSegmentLength)."""
    return replace(
        leading,
        header_digest=own.header_digest,
        data_digest=own.data_digest,
        max_send_data_segment=own.max_send_data_segment,
        max_recv_data_segment=own.max_recv_data_segment,
    )


def _session_gone(login: LoginResult) -> ProtocolError:
    return ProtocolError(
        f"The session {login.tsih} of {login.initiator} has ended.", login_status=Status.SESSION_DOES_NOT_EXIST
    )
