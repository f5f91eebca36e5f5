"""Statuses that a login meets only when something changes around it; the others have their tests where they belong."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from goldherd import limits
from goldherd.app import OneTarget
from goldherd.hooks import BUILTIN, Hooks
from goldherd.server.server import Server
from goldherd.settings import server_settings
from goldherd.targets import LunConfig, TargetConfig

from tests.server.daemon import Herd
from tests.server.initiator import (
    LINUX_ISID,
    NORMAL_KEYS,
    Connection,
    LoginPhase,
    LoginRefusedError,
    connect,
    loader_isid,
    log_in,
)
from tests.support.targets import PREFIX

REMOVED, OUT_OF_RESOURCES = 0x0204, 0x0302


def test_a_target_that_is_removed_during_a_login_is_gone(herd: Herd) -> None:
    with herd.serve() as daemon:
        connection = Connection(connect(daemon.portal))
        with connection.socket:
            phase = LoginPhase(connection, LINUX_ISID)
            names = {"InitiatorName": f"{PREFIX}.node:pc-002", "TargetName": f"{PREFIX}:pc-002"}
            phase.ask(0x81, {**names, "SessionType": "Normal"})
            herd.do("node", "remove", "pc-002")
            with pytest.raises(LoginRefusedError) as refusal:
                phase.ask(0x87, NORMAL_KEYS)
            assert refusal.value.status == REMOVED
        with daemon.log_in("pc-001") as session:
            session.inquire()


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A server in this process, whose limits a test can lower."""
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    settings = server_settings(listen="127.0.0.1:0", reactors=0, cache="1M", shutdown_seconds=0)
    target = TargetConfig(f"{PREFIX}:one", (LunConfig(0, disk),))
    found: list[tuple[str, int]] = []
    ready = threading.Event()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        server = Server(OneTarget(target), settings, Hooks(BUILTIN.items()))
        found.extend((address.host, address.port) for address in await server.start())
        ready.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    yield found[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def test_more_sessions_than_the_limit_are_out_of_resources(
    portal: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A condition that passes: the same login succeeds when another session has ended."""
    monkeypatch.setattr(limits, "SESSIONS_MAX", 2)
    target, initiator = f"{PREFIX}:one", f"{PREFIX}.node:one"
    with (
        log_in(portal, target, initiator, isid=loader_isid(1)) as first,
        log_in(portal, target, initiator, isid=loader_isid(2)),
    ):
        with pytest.raises(LoginRefusedError) as refusal:
            log_in(portal, target, initiator, isid=loader_isid(3))
        assert refusal.value.status == OUT_OF_RESOURCES
        first.log_out()
        with log_in(portal, target, initiator, isid=loader_isid(3)) as third:
            third.make_ready().inquire()
