"""Reactors on threads of their own, or on the event loop, and a cache smaller than its work: the same disk."""

import random
import socket
import threading

import pytest

from bench.pattern import words
from tests.target.conftest import GOLDEN_BYTES
from tests.target.daemon import Daemon, Herd
from tests.target.initiator import ConnectionEndedError, loader_isid

SECTORS = GOLDEN_BYTES // 512


@pytest.mark.parametrize("reactors", [0, 1, 2])
def test_session_from_login_to_logout(herd: Herd, reactors: int) -> None:
    with herd.serve("--reactors", reactors) as daemon:
        with daemon.log_in("pc-001", isid=loader_isid(1)) as loader, daemon.log_in("pc-001") as session:
            assert loader.read(0, 127) == words(0, 127 * 512)
            assert session.write(3, b"\xa5" * 65536, fua=True).status == 0
            assert loader.read(2, 130) == words(1024, 512) + b"\xa5" * 65536 + words(131 * 512, 512)
            assert session.command(b"\x00" * 6, lun=5).key == (5, 0x25, 0)
            assert session.manage(5) == 0, "LOGICAL UNIT RESET"
            session.make_ready()
            session.log_out()
        with daemon.log_in("pc-002") as session, daemon.log_in("pc-002") as again:
            assert session.ended()
            assert again.read(0, 8) == words(0, 4096)
        assert herd.status()["daemon"]["reactors"] == reactors
        assert daemon.stop() == 0


@pytest.mark.parametrize("reactors", [0, 2])
def test_cache_smaller_than_the_golden_disk_serves_right_data(herd: Herd, reactors: int) -> None:
    def work(daemon: Daemon, node: str, seed: int) -> None:
        chosen = random.Random(seed)
        with daemon.log_in(node) as session:
            for _ in range(100):
                count = chosen.choice((1, 8, 127, 1024))
                lba = chosen.randrange(SECTORS - count)
                assert session.read(lba, count) == words(lba * 512, count * 512)
        finished.append(node)

    finished: list[str] = []
    with herd.serve("--reactors", reactors, "--cache", "4M") as daemon:
        nodes = [f"pc-{number:03}" for number in range(1, 5)]
        threads = [threading.Thread(target=work, args=(daemon, node, at)) for at, node in enumerate(nodes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(finished) == nodes
        cache = herd.status()["daemon"]["cache"]
        assert cache["evictions"] > 0 and cache["resident_bytes"] <= cache["budget_bytes"] == 4 << 20


def test_logins_at_once_under_one_isid_leave_one_session(herd: Herd) -> None:
    def work() -> None:
        try:
            sessions.append(daemon.log_in("pc-001"))
        except ConnectionEndedError:
            replaced.append(True)  # by one that came later, before it could send a command

    sessions: list[object] = []
    replaced: list[bool] = []
    with herd.serve() as daemon:
        threads = [threading.Thread(target=work) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(sessions) + len(replaced) == 12 and sessions
        assert len(herd.status()["daemon"]["sessions"]) == 1


def test_silent_connections_do_not_stop_a_login(herd: Herd) -> None:
    with herd.serve() as daemon:
        silent = [socket.create_connection(daemon.portal) for _ in range(900)]
        try:
            with daemon.log_in("pc-001") as session:
                assert session.read(0, 8) == words(0, 4096)
                assert daemon.discover("iqn.2026-11.io.goldherd.node:pc-002")
        finally:
            for connection in silent:
                connection.close()
