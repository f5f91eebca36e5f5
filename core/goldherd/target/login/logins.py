"""Logins under way: leads each new connection through its login, and hands it to a reactor.

Logins run side by side on plain non-blocking sockets: one that says nothing costs a descriptor and a timer, and
delays no other (throttle.py holds the limits). When a login has finished, its socket and the bytes behind the
login go to the reactor together.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from goldherd import limits
from goldherd.errors import GoldherdError, LoginStatus, ProtocolError
from goldherd.model.portals import Portal
from goldherd.negotiation.host import LoginHost, LoginPolicy, LoginResult
from goldherd.negotiation.login import Login
from goldherd.negotiation.states import Status
from goldherd.target.login.portals import Listener
from goldherd.target.login.throttle import LoginThrottle, PendingLogin
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


Admit = Callable[[Arrival], Awaitable[None]]
"""Makes the session and takes the socket over; ProtocolError when it can't be had."""

Numbers = Callable[[int], Awaitable[tuple[int, int] | None]]
"""ExpCmdSN and MaxCmdSN of the session with a TSIH; None when it has ended."""


class Logins:
    """The connections that are in their login.

    Args:
        host: answers of the server during logins.
        admit: takes finished logins over.
        numbers: tells the numbering of a session that a connection joins.
        login_seconds: how long a login may take.
        throttle: limits before login.
        policy: the rules of logins.
    """

    def __init__(
        self,
        host: LoginHost,
        admit: Admit,
        numbers: Numbers,
        login_seconds: float,
        throttle: LoginThrottle,
        policy: LoginPolicy,
    ) -> None:
        self._host = host
        self._admit = admit
        self._numbers = numbers
        self._login_seconds = login_seconds
        self._throttle = throttle
        self._policy = policy
        self._running: set[asyncio.Task[None]] = set()
        self._admitting: set[asyncio.Task[None]] = set()
        """Those of the logins that are complete: their disks are being opened."""

    def begin(self, connection: socket.socket, peer: tuple[str, int], listener: Listener) -> None:
        """Leads a connection through its login, from now on."""
        task = asyncio.get_running_loop().create_task(self._serve(connection, peer, listener))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def settle(self, seconds: float) -> None:
        """Lets the logins under way become sessions, for so long; then drops those that are not complete."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        await self.close(seconds)
        if self._running:
            await asyncio.wait(self._running, timeout=limits.CLOSE_SECONDS)

    def reconfigure(self, login_seconds: float, policy: LoginPolicy) -> None:
        """Other limits, for logins that begin from now on."""
        self._login_seconds, self._policy = login_seconds, policy

    async def close(self, seconds: float) -> None:
        """Drops the logins under way; complete ones become sessions first, which may take so long.

        A login that opens a disk is not interrupted: the open disk would be lost.
        """
        for task in self._running - self._admitting:
            task.cancel()
        if self._admitting:
            _, late = await asyncio.wait(self._admitting, timeout=seconds)
            for task in late:
                task.cancel()

    async def _serve(self, connection: socket.socket, peer: tuple[str, int], listener: Listener) -> None:
        """One connection from its first byte to the hand-over or its end."""
        address = f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"
        task = asyncio.current_task()
        assert task is not None
        pending = self._throttle.enter(peer[0], task.cancel)
        try:
            connection.setblocking(False)
            async with asyncio.timeout(self._login_seconds):
                arrival = await self._lead(connection, listener.reached_by(connection), address, pending)
            if arrival is not None:
                self._throttle.leave(pending)  # what it waits for now is ours
                await self._finish(arrival)
        except TimeoutError:
            log.info("a login took too long", address=address, seconds=self._login_seconds)
        except (OSError, EOFError):
            log.debug("a connection ended during login", address=address)
        except asyncio.CancelledError:
            log.debug("a login was dropped: too many at once, or the server stops", address=address)
        except Exception:
            log.exception("a login failed", address=address)
        finally:
            self._throttle.leave(pending)
            if connection.fileno() >= 0:  # not handed over
                connection.close()

    async def _lead(
        self, connection: socket.socket, portal: Portal, address: str, pending: PendingLogin
    ) -> Arrival | None:
        """The login up to its last response, which is not sent yet; None when it was refused."""
        loop = asyncio.get_running_loop()
        login = Login(self._host, portal, address, self._policy)
        received = bytearray()
        delay = self._throttle.delay_seconds(pending)
        if delay:
            await asyncio.sleep(delay)
        while True:
            raw = await _take(connection, received, header.BHS_BYTES)
            ahs_bytes, data_bytes = header.segment_bytes(raw)
            data = b""
            if not ahs_bytes and data_bytes <= limits.LOGIN_DATA_SEGMENT_BYTES_MAX:
                whole = await _take(connection, received, data_bytes + header.padding(data_bytes))
                data = whole[:data_bytes]
            answers = await login.receive(raw, data)
            if login.joins is not None and (numbers := await self._numbers(login.joins)) is not None:
                answers = [header.renumber(answer, *numbers) for answer in answers]
            if login.result is not None:
                return Arrival(login.result, portal, b"".join(answers), connection, bytes(received))
            if login.closed:
                self._throttle.failed(pending)
                delay = self._throttle.delay_seconds(pending)
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
            await self._admit(arrival)
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


async def _take(connection: socket.socket, received: bytearray, count: int) -> bytes:
    """The next `count` bytes of the connection; EOFError when it ends before."""
    while len(received) < count:
        try:  # most initiators have sent their request before the login asks for it
            more = connection.recv(limits.LOGIN_RECEIVE_BYTES)
        except BlockingIOError:
            more = await asyncio.get_running_loop().sock_recv(connection, limits.LOGIN_RECEIVE_BYTES)
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
