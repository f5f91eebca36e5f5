"""What a login asks of the server that hosts it, the rules it is given, and what it hands over at the end.

The server implements `LoginHost`; so do tests, in a few lines. A login knows neither where targets are kept nor
plugins nor sockets.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from goldherd import limits
from goldherd.model.access import Peer
from goldherd.model.parameters import Parameters
from goldherd.model.targets import TargetConfig
from goldherd.negotiation.keys import Value
from goldherd.negotiation.states import JOINS, SessionAction


class Exchange(Protocol):
    """One authentication on one connection: hookspecs.AuthExchange, whose steps may take time."""

    @property
    def method(self) -> str:
        """Its AuthMethod value; "None" asks for nothing."""
        ...

    @property
    def prefix(self) -> str:
        """How its keys begin, e.g. "CHAP_"."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the peer has proved its identity."""
        ...

    async def step(self, keys: dict[str, str]) -> dict[str, str]:
        """The peer's keys of one request in, ours out; ProtocolError when it fails."""
        ...


class LoginHost(Protocol):
    """What the server answers during a login. Each call may raise ProtocolError; those that may wait are asynchronous.

    A login asks each of the asynchronous ones once at most.
    """

    async def find_target(self, target: str) -> TargetConfig | None:
        """The target of this normalised name, or None. Raises ProtocolError(SERVICE_UNAVAILABLE) for a target that
        is offline."""
        ...

    async def check_redirect(self, initiator: str, target: str, portal: str) -> None:
        """Raises LoginRedirectError to send an initiator that the target admits to another portal."""
        ...

    async def peer(self, initiator: str, address: str, target: TargetConfig) -> Peer:
        """The normalised initiator name at "host:port", with all facts known that the target's access rules need."""
        ...

    async def start_login(self, initiator: str, target: TargetConfig | None) -> Exchange | None:
        """How this initiator must prove itself; None for not at all. target None: a discovery session."""
        ...

    def find_session(self, initiator: str, isid: bytes, target: str | None, portal_group: int | None) -> int | None:
        """The TSIH of the live session of exactly these four, or None; portal_group None: of any group."""
        ...

    def connections(self, tsih: int) -> Collection[int]:
        """The CIDs in use of a live session."""
        ...

    def max_connections(self, tsih: int) -> int:
        """How many connections a live session may have: its MaxConnections."""
        ...

    def allocate_tsih(self) -> int:
        """A session handle that no session has, 1 to 65535; ProtocolError(OUT_OF_RESOURCES) when all are taken."""
        ...


@dataclass(frozen=True, slots=True)
class LoginPolicy:
    """The rules of one portal's logins; the defaults are those of limits.py."""

    discovery: bool = True
    """Whether discovery sessions are served."""
    hide_targets: bool = True
    """Whether a target that does not admit an initiator looks absent to it (0203) or forbidden (0202)."""
    max_recv_data_segment: int = limits.DATA_SEGMENT_BYTES_MAX
    """The MaxRecvDataSegmentLength we declare, bytes."""
    connections_max: int = 1
    """Connections of one session: what we bring to MaxConnections."""
    command_window: int = limits.COMMAND_WINDOW
    """Commands the initiator may send at once after login: MaxCmdSN - ExpCmdSN + 1 of our responses. It can't
    shrink afterwards, so it must not exceed the session's window."""
    text_bytes_max: int = limits.TEXT_BYTES_MAX
    rounds_max: int = limits.LOGIN_ROUNDS_MAX
    ours: Mapping[str, Value] = field(default_factory=dict)
    """What we bring to single keys instead of keys.KEYS, e.g. {"MaxBurstLength": 262144}."""


@dataclass(frozen=True, slots=True)
class LoginResult:
    """What a finished login hands to the full feature phase."""

    initiator: str
    """Normalised name."""
    initiator_alias: str
    config: TargetConfig | None
    """The target as it was found when the login asked for it; None for a discovery session."""
    isid: bytes
    tsih: int
    cid: int
    action: SessionAction
    """What the server must do to existing sessions before it opens this one, or joins the connection to one."""
    replaces: int | None
    """The TSIH of the session that REINSTATE_SESSION ends."""
    cmd_sn: int
    """ExpCmdSN: the number of the first command to come."""
    max_cmd_sn: int
    """The last MaxCmdSN we told."""
    stat_sn: int
    """The number of our next status."""
    parameters: Parameters
    authenticated: bool
    """Whether the initiator had to prove its identity, and did."""
    address: str
    """The peer's address."""
    portal: str
    """The portal's "host:port"."""
    portal_group: int
    """Its target portal group tag."""

    @property
    def target(self) -> str | None:
        """The target's normalised name; None for a discovery session."""
        return None if self.config is None else self.config.name

    @property
    def joins(self) -> bool:
        """Whether it is one more connection of a session, or replaces one."""
        return self.action in JOINS

    @property
    def discovery(self) -> bool:
        """Whether this is a discovery session."""
        return self.config is None
