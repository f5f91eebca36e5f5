"""Sessions that ask for nothing, over many ping periods: the server ends none of them by itself.

Seconds stand for the minutes of a real day; `python -m bench.soak` keeps a thousand of them for an hour.
"""

import selectors
import time
from collections.abc import Sequence

import pytest

from tests.target.daemon import QUICK, Daemon, Herd
from tests.target.initiator import ConnectionEndedError, Session, loader_isid
from tests.target.test_hung_disks import until

NODES = ("pc-001", "pc-002", "pc-003", "pc-004")
OF_A_KIND = 12
PERIODS = 8


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ping each second, and silence of three is the end of a session that has answered one."""
    monkeypatch.setitem(QUICK, "GOLDHERD_PING_SECONDS", "1")
    monkeypatch.setitem(QUICK, "GOLDHERD_PING_TIMEOUT_SECONDS", "3")


def log_in(daemon: Daemon, kind: int, loader: bool = False) -> list[Session]:
    """Sessions of one kind, over all nodes, each with an ISID of its own."""
    return [
        daemon.log_in(
            NODES[number % len(NODES)],
            isid=loader_isid(kind * 100 + number) if loader else bytes((0x80, 0, 0, 0, kind, number)),
        )
        for number in range(OF_A_KIND)
    ]


def keep(answering: Sequence[Session], seconds: float) -> None:
    """Answers the pings of these sessions for so long."""
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for session in answering:
            selector.register(session.socket, selectors.EVENT_READ, session)
        while time.monotonic() < end:
            for key, _ in selector.select(0.2):
                key.data.answer_ping()


def test_idle_sessions_are_kept_and_only_those_that_fall_silent_end(herd: Herd) -> None:
    with herd.serve() as daemon:
        answering = log_in(daemon, 1)
        mute = log_in(daemon, 2)  # initiators that answer no ping
        loaders = log_in(daemon, 3, loader=True)  # as iPXE, whose TCP takes the pings
        falling = log_in(daemon, 4)
        for session in falling:
            session.answer_ping()
        keep(answering, PERIODS)
        for session in falling:
            with pytest.raises(ConnectionEndedError):
                while True:  # the pings that came before
                    session.receive()
        until(lambda: daemon.log.count("the peer did not answer a ping") == OF_A_KIND)
        for session in (*answering, *mute, *loaders):
            session.read(0, 8)
        assert len(herd.status()["daemon"]["sessions"]) == 3 * OF_A_KIND
