"""Portals: accepts connections, leads each through its login, and hands it to a reactor.

Logins run side by side on plain non-blocking sockets: one that says nothing costs a descriptor and a timer, and
delays nobody (login_throttle.py holds the limits). When a login has finished, its socket and the bytes behind the login
go to the reactor together.
"""

import asyncio
import errno
import resource
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import structlog

from goldherd import limits
from goldherd.errors import GoldherdError, LoginStatus, ProtocolError, SettingsError
from goldherd.model.portals import Portal
from goldherd.negotiation.host import LoginHost, LoginPolicy, LoginResult
from goldherd.negotiation.login import Login
from goldherd.negotiation.states import Status
from goldherd.settings import Address
from goldherd.target.login_throttle import LoginThrottle, PendingLogin
from goldherd.wire import header

log = structlog.get_logger("goldherd.login")

_STATUS_AT: Final = 36
_LENGTHS_AT: Final = 4


@dataclass(frozen=True, slots=True)
class Arrival:
    """A connection whose login is complete but for its last response."""

    login: LoginResult
    portal: Portal
    response: bytes
    """The last Login Response: to be sent when the session is ready."""
    socket: socket.socket
    residual: bytes
    """What came behind the login."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket that accepts connections."""

    listening: socket.socket
    address: Address
    """What was asked for; a host name may have several sockets."""

    @property
    def portal(self) -> Portal:
        """Where it listens."""
        host, port = self.listening.getsockname()[:2]
        return Portal(host, port, self.address.tag)

    @property
    def announced(self) -> Portal:
        """What discovery tells of it."""
        other = self.address.announced or self.portal
        return Portal(other.host.partition("%")[0], other.port, self.address.tag)  # a zone means nothing to others

    def reached_by(self, connection: socket.socket) -> Portal:
        """The portal as the client of a connection knows it."""
        if self.address.announced is not None:
            return self.announced
        return Portal.reached_by(connection.getsockname(), self.address.tag)


Admit = Callable[[Arrival], Awaitable[None]]
"""Makes the session and takes the socket over; ProtocolError when it can't be had."""

Numbers = Callable[[int], Awaitable[tuple[int, int] | None]]
"""ExpCmdSN and MaxCmdSN of the session with a TSIH; None when it has ended."""


@dataclass
class Portals:
    """The listening sockets and the logins under way.

    Args:
        host: answers of the server during logins.
        admit: takes finished logins over.
        numbers: tells the numbering of a session that a connection joins.
        login_seconds: how long a login may take.
        throttle: limits before login.
        policy: the rules of logins.
    """

    host: LoginHost
    admit: Admit
    numbers: Numbers
    login_seconds: float
    throttle: LoginThrottle = field(default_factory=LoginThrottle)
    policy: LoginPolicy = field(default_factory=LoginPolicy)
    _listeners: list[Listener] = field(default_factory=list)
    _accepting: list[asyncio.Task[None]] = field(default_factory=list)
    _logins: set[asyncio.Task[None]] = field(default_factory=set)
    _admitting: set[asyncio.Task[None]] = field(default_factory=set)
    """Those of the logins that are complete: their disks are being opened."""

    async def open(self, addresses: Sequence[Address]) -> list[Portal]:
        """Listens on all of them; SettingsError, and none is open, when one can't be had."""
        try:
            for address in addresses:
                self._listeners += await _listen(address)
        except BaseException:
            self._stop_listening()
            raise
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = max(descriptors // 2, descriptors - limits.DESCRIPTORS_KEPT, 1)
        self.throttle.logins_max = min(self.throttle.logins_max, most)
        loop = asyncio.get_running_loop()
        self._accepting = [loop.create_task(self._accept(listener)) for listener in self._listeners]
        return [listener.portal for listener in self._listeners]

    @property
    def announced(self) -> list[Portal]:
        """What discovery may tell of."""
        return [listener.announced for listener in self._listeners]

    async def close(self) -> None:
        """Accepts nobody any more; logins under way are dropped, complete ones become sessions first.

        Whoever opens a disk is not interrupted: nobody would know of the open disk.
        """
        for task in (*self._accepting, *(self._logins - self._admitting)):
            task.cancel()
        if self._accepting:
            await asyncio.wait(self._accepting)
        self._stop_listening()
        if self._admitting:
            _, late = await asyncio.wait(self._admitting, timeout=limits.CLOSE_SECONDS)
            for task in late:
                task.cancel()

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.listening.close()
        self._listeners.clear()

    async def _accept(self, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(listener.listening)
            except OSError as failure:
                if failure.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                    log.error("no more connections can be taken now", reason=str(failure))
                    self.throttle.make_room()
                    await asyncio.sleep(limits.ACCEPT_PAUSE_SECONDS)
                continue  # the peer was gone before we came
            task = loop.create_task(self._serve(connection, peer, listener))
            self._logins.add(task)
            task.add_done_callback(self._logins.discard)

    async def _serve(self, connection: socket.socket, peer: tuple[str, int], listener: Listener) -> None:
        """One connection from its first byte to the hand-over or its end."""
        address = f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"
        task = asyncio.current_task()
        assert task is not None
        pending = self.throttle.enter(peer[0], task.cancel)
        try:
            _prepare(connection)
            async with asyncio.timeout(self.login_seconds):
                arrival = await self._lead(connection, listener.reached_by(connection), address, pending)
            if arrival is not None:
                self.throttle.leave(pending)  # what it waits for now is ours
                await self._finish(arrival)
        except TimeoutError:
            log.info("a login took too long", address=address, seconds=self.login_seconds)
        except (OSError, EOFError):
            log.debug("a connection ended during login", address=address)
        except asyncio.CancelledError:
            log.debug("a login was dropped: too many at once, or the server stops", address=address)
        except Exception:
            log.exception("a login failed", address=address)
        finally:
            self.throttle.leave(pending)
            if connection.fileno() >= 0:  # not handed over
                connection.close()

    async def _lead(
        self, connection: socket.socket, portal: Portal, address: str, pending: PendingLogin
    ) -> Arrival | None:
        """The login up to its last response, which is not sent yet; None when it was refused."""
        loop = asyncio.get_running_loop()
        login = Login(self.host, portal, address, self.policy)
        received = bytearray()
        await asyncio.sleep(self.throttle.delay_seconds(pending))
        while True:
            raw = await _take(connection, received, header.BHS_BYTES)
            ahs_bytes, data_bytes = header.segment_bytes(raw)
            data = b""
            if not ahs_bytes and data_bytes <= limits.LOGIN_DATA_SEGMENT_BYTES_MAX:
                whole = await _take(connection, received, data_bytes + header.padding(data_bytes))
                data = whole[:data_bytes]
            answers = await login.receive(raw, data)
            if login.joins is not None and (numbers := await self.numbers(login.joins)) is not None:
                answers = [header.renumber(answer, *numbers) for answer in answers]
            if login.result is not None:
                return Arrival(login.result, portal, b"".join(answers), connection, bytes(received))
            if login.closed:
                self.throttle.failed(pending)
                delay = self.throttle.delay_seconds(pending)
                log.warning(
                    "a login was refused",
                    address=address,
                    initiator=login.initiator or None,
                    reason=login.refusal,
                    delay_seconds=round(delay, 2),
                )
                await asyncio.sleep(delay)
            for answer in answers:
                await loop.sock_sendall(connection, answer)
            if login.closed:
                return None

    async def _finish(self, arrival: Arrival) -> None:
        """Lets a complete login in. Takes as long as its disks take: to refuse would end the boot of a client."""
        task = asyncio.current_task()
        assert task is not None
        self._admitting.add(task)
        login = arrival.login
        try:
            await self.admit(arrival)
        except GoldherdError as refusal:
            status, tell = Status.SERVICE_UNAVAILABLE, log.error
            if isinstance(refusal, ProtocolError):  # the initiator tries again, or was replaced by itself
                status, tell = refusal.login_status, log.warning
            tell("a login can't be served", initiator=login.initiator, target=login.target, reason=str(refusal))
            await self._refuse(arrival, status)
        except ConnectionError:
            raise
        except Exception:
            log.exception("a login can't be served", initiator=login.initiator, target=login.target)
            await self._refuse(arrival, Status.TARGET_ERROR)
        finally:
            self._admitting.discard(task)

    @staticmethod
    async def _refuse(arrival: Arrival, status: LoginStatus) -> None:
        if arrival.socket.fileno() >= 0:  # not handed over
            await asyncio.get_running_loop().sock_sendall(arrival.socket, _refusal(arrival.response, status))


async def _listen(address: Address) -> list[Listener]:
    """The sockets of one address; a host name may have several."""
    opened: list[Listener] = []
    look_up = partial(socket.getaddrinfo, address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    try:
        # The look-up of uvloop loses the zone of a link-local address.
        found = await asyncio.get_running_loop().run_in_executor(None, look_up)
        for family, kind, protocol, _, place in dict.fromkeys(found):
            listener = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
            opened.append(Listener(listener, address))
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(place)
            listener.listen(limits.BACKLOG)
    except OSError as failure:
        for each in opened:
            each.listening.close()
        raise SettingsError(f"Could not listen on {address}: {_why(address, failure)}") from None
    return opened


def _why(address: Address, failure: OSError) -> str:
    """Why an address can't be had, and what to do: the end of a sentence."""
    if isinstance(failure, socket.gaierror):
        host, _, zone = address.host.partition("%")
        if zone:
            return f"{host} is no address, or this machine has no network interface {zone}. Look at 'ip -6 address'."
        if failure.errno == socket.EAI_AGAIN:
            return f"no name server says now which address {host} has. Try again, or name an address."
        return f"no host has the name {host}. Check the spelling, or name an address."
    known = _REASONS.get(failure.errno or 0)
    if known is None:
        return f"{failure.strerror or failure}. Choose another address."
    return known.format(address=address)


_REASONS: Final = {
    errno.EADDRINUSE: "another program uses port {address.port}. Stop it, or choose another port.",
    errno.EADDRNOTAVAIL: "this machine does not have the address {address.host}. Look at 'ip address'.",
    errno.EINVAL: "{address.host} needs the network interface that it belongs to. Write [{address.host}%eth0].",
    errno.EACCES: "port {address.port} is kept for root. Choose a port above 1023, or run goldherd as root.",
    errno.EAFNOSUPPORT: "this machine has no IPv6. Name an IPv4 address.",
    errno.EMFILE: "the process has too many files open. Raise its limit (LimitNOFILE=, 'ulimit -n').",
    errno.ENFILE: "the system has too many files open. Raise fs.file-max.",
    errno.ENOMEM: "the system has no memory left. Free some.",
}
"""By error number: the end of the sentence."""


def _prepare(connection: socket.socket) -> None:
    """Small answers at once; bounded kernel memory; a peer that vanished is noticed by TCP itself.

    Patient keepalive: a boot loader answers nothing while its menu waits or the loaded system computes.
    """
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.SEND_BUFFER_BYTES)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, limits.KEEPALIVE_IDLE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, limits.KEEPALIVE_INTERVAL_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, limits.KEEPALIVE_PROBES)


async def _take(connection: socket.socket, received: bytearray, count: int) -> bytes:
    """The next `count` bytes of the connection; EOFError when it ends before."""
    loop = asyncio.get_running_loop()
    while len(received) < count:
        more = await loop.sock_recv(connection, limits.LOGIN_RECEIVE_BYTES)
        if not more:
            raise EOFError
        received += more
    taken = bytes(received[:count])
    del received[:count]
    return taken


def _refusal(response: bytes, status: LoginStatus) -> bytes:
    """The last response turned into a refusal: the status counts, the text is left out (RFC 7143 11.13.5)."""
    refused = bytearray(response[: header.BHS_BYTES])
    refused[_LENGTHS_AT : _LENGTHS_AT + 4] = bytes(4)
    refused[_STATUS_AT] = status.status_class
    refused[_STATUS_AT + 1] = status.detail
    return bytes(refused)
