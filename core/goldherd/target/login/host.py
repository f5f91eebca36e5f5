"""What logins ask of the server (negotiation.host.LoginHost): its targets, its sessions, and what plugins say."""

from collections.abc import Collection
from dataclasses import replace

from goldherd.errors import LoginRedirectError
from goldherd.hooks import Hooks
from goldherd.model.access import Peer, UnresolvedError, peer_address
from goldherd.model.targets import Directory, TargetConfig
from goldherd.negotiation.host import Exchange
from goldherd.target.commands.drains import Drains
from goldherd.target.login.resolver import LastKnownFacts, NetworkFacts, Resolver
from goldherd.target.sessions import Sessions


class Host:
    """Answers the logins of a server.

    Args:
        directory: what the targets are.
        hooks: the plugins.
        resolver: looks up the names in access rules.
        sessions: those that live.
        drains: asks a reactor for the numbering of a session.
    """

    def __init__(
        self, directory: Directory, hooks: Hooks, resolver: Resolver, sessions: Sessions, drains: Drains
    ) -> None:
        self._directory, self._hooks, self._resolver = directory, hooks, resolver
        self._sessions, self._drains = sessions, drains

    async def find_target(self, target: str) -> TargetConfig | None:
        """The target of that name."""
        return await self._directory.find(target)

    async def check_redirect(self, initiator: str, target: str, portal: str) -> None:
        """Asks the plugins whether the login is to go elsewhere."""
        elsewhere = await self._hooks.redirect_login(initiator, target, portal)
        if elsewhere is not None:
            raise LoginRedirectError(
                f"A plugin sends {initiator} to {elsewhere.address}.",
                address=elsewhere.address,
                permanent=elsewhere.permanent,
            )

    async def peer(self, initiator: str, address: str, target: TargetConfig) -> Peer:
        """The peer as the access rules of a target see it: the names in them are looked up."""
        peer = Peer(initiator, peer_address(address), NetworkFacts(self._resolver.addresses_of))
        try:
            target.admits(peer)
        except UnresolvedError as question:
            await self._resolver.resolve(question.names)
            return replace(peer, facts=LastKnownFacts(self._resolver))
        return peer

    async def start_login(self, initiator: str, target: TargetConfig | None) -> Exchange | None:
        """How it must prove itself."""
        if target is None:
            return await self._hooks.start_login(initiator, None, await self._directory.discovery_credentials())
        return await self._hooks.start_login(initiator, target.name, target.credentials)

    def find_session(self, initiator: str, isid: bytes, target: str | None, portal_group: int | None) -> int | None:
        """The handle of a live session of the same initiator port and target port."""
        session = self._sessions.find(initiator, isid, target, portal_group)
        return session.tsih if session is not None else None

    def connections(self, tsih: int) -> Collection[int]:
        """The connections of a session."""
        session = self._sessions.of_handle(tsih)
        return () if session is None else [connection.cid for connection in session.connections.values()]

    def max_connections(self, tsih: int) -> int:
        """How many it may have."""
        session = self._sessions.of_handle(tsih)
        return 1 if session is None else session.max_connections

    def allocate_tsih(self) -> int:
        """A handle for a new session."""
        return self._sessions.allocate_handle()

    async def numbers(self, tsih: int) -> tuple[int, int] | None:
        """ExpCmdSN and MaxCmdSN of a session; None when it has ended."""
        session = self._sessions.of_handle(tsih)
        return None if session is None else await self._drains.numbers(session.reactor, session.id)
