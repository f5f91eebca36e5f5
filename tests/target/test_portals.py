"""What a connection has from its listening socket, and what happens to connections when a server stops listening."""

import asyncio
import socket

import pytest
from goldherd import limits
from goldherd.model.portals import Portal
from goldherd.settings import Address
from goldherd.target.login.portals import Listener, Portals

OPTIONS = {
    (socket.IPPROTO_TCP, socket.TCP_NODELAY): 1,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): limits.KEEPALIVE_IDLE_SECONDS,
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): limits.KEEPALIVE_INTERVAL_SECONDS,
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): limits.KEEPALIVE_PROBES,
}


async def accept_one() -> None:
    came: asyncio.Queue[tuple[socket.socket, tuple[str, int], Listener]] = asyncio.Queue()
    portals = Portals(lambda *accepted: came.put_nowait(accepted), lambda: None)
    (portal,) = await portals.open([Address("127.0.0.1", 0)])
    portals.accept()
    with socket.create_connection((portal.host, portal.port)) as client:
        connection, peer, listener = await came.get()
        with connection:
            assert peer == client.getsockname()
            assert listener.reached_by(connection) == Portal(portal.host, portal.port)
            for option, wanted in OPTIONS.items():
                assert connection.getsockopt(*option) == wanted, option
            # The kernel counts its own overhead in: it says twice what was asked for, or its limit.
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > 200_000
            portals.close()
            connection.sendall(b"on")
            assert client.recv(2) == b"on"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((portal.host, portal.port))
    assert portals.announced == []


def test_a_connection_has_the_options_of_its_listening_socket() -> None:
    asyncio.run(accept_one())
