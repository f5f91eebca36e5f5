"""Portals: the listening sockets, and the connections that come to them.

Each connection is handed to the logins (logins.py) at once. Options of its socket are set on the listening socket, from
which the kernel passes them on. A shortage of descriptors ends the oldest login and makes a pause.
"""

import asyncio
import errno
import resource
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from goldherd import limits
from goldherd.errors import SettingsError
from goldherd.model.portals import Portal
from goldherd.settings import Address

log = structlog.get_logger("goldherd.login")

_SHORTAGES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
"""The system has no room for another connection now."""


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


Serve = Callable[[socket.socket, tuple[str, int], Listener], object]
"""Takes a connection and the address of its peer; returns at once."""


class Portals:
    """The listening sockets of a server.

    Args:
        serve: takes each connection.
        make_room: ends the oldest login when the system has no descriptor for a connection.
    """

    def __init__(self, serve: Serve, make_room: Callable[[], object]) -> None:
        self._serve = serve
        self._make_room = make_room
        self._listeners: list[Listener] = []
        self._paused = False

    async def open(
        self, addresses: Sequence[Address], before: Mapping[str, socket.socket] | None = None
    ) -> list[Portal]:
        """Listens on all of them; SettingsError, and none is open, when one can't be had. accept() begins with them.

        `before`: sockets that listen already, by their key in listening(); those that are not wanted are closed.
        """
        before = dict(before or {})
        try:
            for address in addresses:
                known = [key for key in before if key.startswith(f"{_key(address)}#")]
                self._listeners += [Listener(before.pop(key), address) for key in known] or await _listen(address)
        except BaseException:
            self.close()
            raise
        for unwanted in before.values():
            unwanted.close()
        return [listener.portal for listener in self._listeners]

    def listening(self) -> list[tuple[str, int]]:
        """The sockets with a key for what was asked for."""
        return [
            (f"{_key(listener.address)}#{number}", listener.listening.fileno())
            for number, listener in enumerate(self._listeners)
        ]

    def accept(self) -> None:
        """Accepts connections from now on."""
        self._paused = False
        for listener in self._listeners:
            self._watch(listener)

    def pause(self) -> None:
        """Accepts none until accept(); the kernel keeps those that come."""
        self._paused = True
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener.listening)

    @property
    def announced(self) -> list[Portal]:
        """The portals that discovery may tell of."""
        return [listener.announced for listener in self._listeners]

    def close(self) -> None:
        """Stops listening; connections that were accepted go on."""
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener.listening)
            listener.listening.close()
        self._listeners.clear()

    def _watch(self, listener: Listener) -> None:
        if listener in self._listeners and not self._paused:  # a pause may outlast the socket
            asyncio.get_running_loop().add_reader(listener.listening, self._accept, listener)

    def _accept(self, listener: Listener) -> None:
        """Accepts one connection; the loop calls again while others wait."""
        try:
            connection, peer = listener.listening.accept()
        except OSError as failure:
            if failure.errno in _SHORTAGES:
                log.error("no more connections can be taken now", reason=str(failure))
                self._make_room()
                loop = asyncio.get_running_loop()
                loop.remove_reader(listener.listening)
                loop.call_later(limits.ACCEPT_PAUSE_SECONDS, self._watch, listener)
            return  # otherwise the peer has gone in the meantime
        self._serve(connection, peer, listener)


def logins_allowed() -> int:
    """How many connections may be in their login, so that sessions and disks find descriptors."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(descriptors // 2, descriptors - limits.DESCRIPTORS_KEPT, 1)


def allow_many_files() -> None:
    """A descriptor per session and per overlay: as many as the system grants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError) as failure:
            log.warning("the limit of open files could not be raised", limit=soft, reason=str(failure))


def _key(address: Address) -> str:
    """An address as it was asked for."""
    return f"{address},{address.tag}={address.announced or ''}"


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
            _set_options(listener)
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


def _set_options(listener: socket.socket) -> None:
    """Options of the connections, which Linux passes on to each accepted socket.

    Small answers leave at once, kernel memory is bounded, and TCP itself notices a peer that has vanished. Keepalive is
    patient: a boot loader answers nothing while its menu waits or the loaded system computes.
    """
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.SEND_BUFFER_BYTES)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, limits.KEEPALIVE_IDLE_SECONDS)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, limits.KEEPALIVE_INTERVAL_SECONDS)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, limits.KEEPALIVE_PROBES)
