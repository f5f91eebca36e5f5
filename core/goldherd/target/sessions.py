"""The sessions of a server, the open targets that they use, and the reactors that serve them.

open_targets.py opens and closes the targets.

A session has an id, a number that is never used again, by which reactors and control plane speak of it.
"""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from goldherd import limits
from goldherd.block.image import Failure, Image
from goldherd.errors import ProtocolError
from goldherd.model.portals import Portal
from goldherd.model.targets import LunConfig, TargetConfig
from goldherd.negotiation.host import LoginResult
from goldherd.negotiation.states import Status
from goldherd.negotiation.text_exchange import TextExchange
from goldherd.reactor.epoll import Reactor
from goldherd.scsi.fastpath.unit import HotNexus, HotUnit
from goldherd.scsi.prebuilt import prebuilt
from goldherd.scsi.state.device import LogicalUnit, Target
from goldherd.scsi.state.nexus import Nexus

LOADER_ISID: Final = bytes.fromhex("40002723")
"""How iPXE's ISIDs begin: enterprise number 10019. Its next bytes are new for each connection."""


@dataclass(eq=False)
class OpenUnit:
    """One logical unit in both shapes: with everything it means for Python, and what reactors read."""

    unit: LogicalUnit
    hot: HotUnit
    exclusive: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by a command that must run alone."""

    _failure: Failure | None = None

    def notice_failure(self) -> Failure | None:
        """How the disk has failed, if it has and no earlier call has told; flags and answers say so from now on."""
        failure = self.unit.medium.image.sync_failure
        if failure is None or self._failure is not None:
            return None
        self._failure = failure
        with self.unit.lock:
            self.unit.changed()
        return failure

    def exchange(self, image: Image) -> None:
        """Another image over the same disk; nothing uses the unit at this moment."""
        self.hot.exchange(image)
        self.unit.medium.image = image
        with self.unit.lock:
            self.unit.changed()

    def publish(self) -> None:
        """Makes the prebuilt answers again; may be called on any thread."""
        self.hot.publish(prebuilt(self.unit))


@dataclass(eq=False)
class OpenTarget:
    """A target whose disks are open."""

    config: TargetConfig
    target: Target
    images: list[Image]
    units: dict[int, OpenUnit]
    sessions: set["Session"] = field(default_factory=set)
    made: list[LunConfig] = field(default_factory=list)
    """The LUNs whose overlays were made when it was opened."""
    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Location to device and inode of the disks that are files, as they were when it was opened."""
    lost: list[str] = field(default_factory=list)
    """The locations at which those files do not lie any more (upkeep.py)."""
    working: int = 0
    """Commands that Python carries out on its disks now; some go on when their session has ended."""

    @property
    def idle(self) -> bool:
        """Whether no session and no command uses its disks, so that they may be closed."""
        return not self.sessions and not self.working


Ports = tuple[str, bytes, str]
"""The initiator's name and ISID, and the target's name."""


@dataclass(frozen=True, slots=True)
class LunNexus:
    """One LUN of a session: the nexus for Python and the one that reactors read."""

    open_unit: OpenUnit
    nexus: Nexus
    hot: HotNexus

    def follow(self, nexus: Nexus) -> None:
        """The data plane learns what it may not do itself; may be called on any thread."""
        self.hot.flags = nexus.flags


@dataclass(eq=False)
class Running:
    """A command that Python carries out."""

    open_unit: OpenUnit
    task: asyncio.Task[None]
    connection: int
    """The connection it came on."""
    aborted: bool = False

    def abort(self) -> None:
        """It ends at its next step; its reply is swallowed by the reactor."""
        self.aborted = True


@dataclass(eq=False)
class Connection:
    """One connection of a session."""

    number: int
    """By which session and reactor tell it from the others; never used again in its session, as a CID may be."""
    login: LoginResult
    exchange: TextExchange
    portal: Portal
    """Where it came in."""
    exchanging: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a Text Request is answered; the next one waits."""
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when neither the reactor nor the control plane uses the connection any more."""

    @property
    def cid(self) -> int:
        """The Connection ID that the initiator gave it."""
        return self.login.cid


@dataclass(eq=False)
class Session:
    """One session in full feature phase (hookspecs.SessionRecord)."""

    id: int
    login: LoginResult
    """That of its leading connection."""
    reactor: Reactor
    open_target: OpenTarget | None
    connections: dict[int, Connection] = field(default_factory=dict)
    """Its connections by number."""
    luns: dict[int, LunNexus] = field(default_factory=dict)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    ending: str = ""
    """Why we ended it, when we did."""
    set_aside: bool = False
    """It has only reads under way, of a disk that hangs; another session may take its place already."""
    threads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(limits.SESSION_THREADS_MAX))
    """Its share of the threads that may sleep: long commands of one session leave some to the others."""
    running: "dict[int, Running]" = field(default_factory=dict)
    """Commands that Python carries out now, by Initiator Task Tag as it came."""
    next_number: int = 0
    """That of its next connection."""

    def add_connection(self, login: LoginResult, exchange: TextExchange, portal: Portal) -> Connection:
        """One more connection."""
        connection = Connection(self.next_number, login, exchange, portal)
        self.next_number += 1
        self.connections[connection.number] = connection
        return connection

    def connection_of(self, cid: int) -> Connection | None:
        """Its connection with that CID."""
        return next((connection for connection in self.connections.values() if connection.cid == cid), None)

    def remove_connection(self, number: int) -> None:
        """A connection has ended: the reactor has let it go."""
        connection = self.connections.pop(number, None)
        if connection is not None:
            connection.closed.set()

    @property
    def max_connections(self) -> int:
        """How many connections it may have, as its leading login agreed."""
        return self.login.parameters.max_connections

    @property
    def initiator(self) -> str:
        return self.login.initiator

    @property
    def target(self) -> str:
        """The target's name; empty in a discovery session."""
        return self.login.target or ""

    @property
    def isid(self) -> bytes:
        return self.login.isid

    @property
    def tsih(self) -> int:
        return self.login.tsih

    @property
    def address(self) -> str:
        return self.login.address

    @property
    def ports(self) -> "Ports":
        """Its initiator port and the target, of which it is the only session in its portal group."""
        return self.initiator, self.isid, self.target

    @property
    def by_loader(self) -> bool:
        """Whether a boot loader opened it, not an operating system."""
        return self.isid.startswith(LOADER_ISID)

    def neighbours(self) -> "list[Session]":
        """All sessions of the same target, this one among them."""
        return list(self.open_target.sessions) if self.open_target is not None else [self]

    def end(self, why: str) -> None:
        """Drops its connections; their ClosedEvents follow. `why` is for logs and hooks."""
        self.ending = self.ending or why
        self.reactor.close_session(self.id)

    def detach(self) -> None:
        """The session is over: its nexuses are lost (SAM-5 6.3.4)."""
        for lun_nexus in self.luns.values():
            lun_nexus.nexus.on_flags = None
            lun_nexus.open_unit.unit.detach(lun_nexus.nexus)


class Sessions:
    """The registry.

    Args:
        reactors: serve the sessions; the reactor with the fewest gets the next.
    """

    def __init__(self, reactors: Sequence[Reactor]) -> None:
        self._ids = itertools.count(1)
        self._handles = itertools.cycle(range(1, 0x10000))
        self._by_id: dict[int, Session] = {}
        self._by_tsih: dict[int, Session] = {}
        self._by_ports: dict[Ports, dict[int, Session]] = {}
        """By initiator port and target; then by portal group. Sessions set aside are not among them."""
        self._loads = dict.fromkeys(reactors, 0)
        """Sessions by reactor."""

    def __iter__(self) -> "itertools.chain[Session]":
        return itertools.chain(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, session_id: int) -> Session | None:
        """The session with that id, if it is still there."""
        return self._by_id.get(session_id)

    def of_handle(self, tsih: int) -> Session | None:
        """The session with that Target Session Identifying Handle."""
        return self._by_tsih.get(tsih)

    def find(self, initiator: str, isid: bytes, target: str | None, portal_group: int | None) -> Session | None:
        """The session of exactly this initiator port and target port (RFC 7143 4.2.7.1); portal_group None: any.

        Discovery sessions are never continued, so none is found.
        """
        if target is None:
            return None
        found = self._by_ports.get((initiator, isid, target), {})
        return next(iter(found.values()), None) if portal_group is None else found.get(portal_group)

    def set_aside(self, session: Session) -> None:
        """Another session may take its place from now on."""
        session.set_aside = True
        self._unlist(session)

    def _unlist(self, session: Session) -> None:
        """Takes a session out of the look-up by its ports."""
        found = self._by_ports.get(session.ports, {})
        if found.get(session.login.portal_group) is session:
            del found[session.login.portal_group]
            if not found:
                del self._by_ports[session.ports]

    def allocate_handle(self) -> int:
        """A TSIH that no session has; ProtocolError when the server is full."""
        if len(self._by_tsih) >= limits.SESSIONS_MAX:
            raise ProtocolError(
                f"There are {len(self._by_tsih)} sessions, which is the limit.", login_status=Status.OUT_OF_RESOURCES
            )
        return next(handle for handle in self._handles if handle not in self._by_tsih)

    def choose_reactor(self) -> Reactor:
        """The reactor with the fewest sessions."""
        return min(self._loads, key=self._loads.__getitem__)

    def next_id(self) -> int:
        """A number no session ever had."""
        return next(self._ids)

    def add(self, session: Session) -> None:
        """Registers a session. ProtocolError when another session took its TSIH during the login."""
        if session.tsih in self._by_tsih:
            raise ProtocolError(
                f"The TSIH {session.tsih} was taken during the login: too many logins at once.",
                login_status=Status.OUT_OF_RESOURCES,
            )
        self._loads[session.reactor] += 1
        if session.login.target is not None:
            self._by_ports.setdefault(session.ports, {})[session.login.portal_group] = session
        self._by_id[session.id] = session
        self._by_tsih[session.tsih] = session
        if session.open_target is not None:
            session.open_target.sessions.add(session)

    def remove(self, session: Session) -> None:
        """Forgets a session that the reactor has let go."""
        if self._by_id.pop(session.id, None) is not None:
            self._loads[session.reactor] -= 1
        self._unlist(session)
        if self._by_tsih.get(session.tsih) is session:
            del self._by_tsih[session.tsih]
        if session.open_target is not None:
            session.open_target.sessions.discard(session)
        for connection in session.connections.values():
            connection.closed.set()
        session.closed.set()
