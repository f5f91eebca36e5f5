"""A disk that takes longer to open than a login may take: its first login waits for it, and no disk gets lost."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pytest
import uvloop
from goldherd.app import OneTarget
from goldherd.block.memory import MemoryImage
from goldherd.hooks import Hooks
from goldherd.hookspecs import hookimpl
from goldherd.model.targets import LunConfig, TargetConfig
from goldherd.settings import server_settings
from goldherd.target.server import Server

from tests.support.targets import PREFIX
from tests.target.initiator import LINUX_ISID, NORMAL_KEYS, Connection, LoginRefusedError, Session, connect, log_in

TARGET = f"{PREFIX}:slow"
LOGIN_SECONDS = 0.2


class SlowPlugin:
    """Disks that open when they are let."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.opened: list[MemoryImage] = []

    @hookimpl
    def open_image(self, url: str) -> MemoryImage | None:
        if not url.startswith("slow:"):
            return None
        self.go.wait()
        self.opened.append(MemoryImage(1 << 20))
        return self.opened[-1]


@pytest.fixture
def plugin() -> Iterator[SlowPlugin]:
    slow = SlowPlugin()
    yield slow
    slow.go.set()


@pytest.fixture
def portal(plugin: SlowPlugin) -> Iterator[tuple[str, int]]:
    """A server in this process, with the plugin; where it listens."""
    hooks = Hooks()
    assert hooks.register(plugin, "slow")
    settings = server_settings(listen="127.0.0.1:0", reactors=0, cache="1M", shutdown_seconds=0)
    settings = settings.model_copy(update={"login_seconds": LOGIN_SECONDS})
    target = TargetConfig(TARGET, (LunConfig(0, "disk", format="slow"),))
    found: list[tuple[str, int]] = []
    ready, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        server = Server(OneTarget(target), settings, hooks, linger_seconds=None)
        try:
            found.extend((address.host, address.port) for address in await server.start())
            loops.append(asyncio.get_running_loop())
            ready.set()
            await stop.wait()
        finally:
            await server.stop()

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(30)
    yield found[0]
    plugin.go.set()
    loops[0].call_soon_threadsafe(stop.set)
    thread.join()


def log_in_as(portal: tuple[str, int], number: int) -> Session:
    return log_in(portal, TARGET, f"{PREFIX}.node:{number}")


def test_login_waits_for_its_disk_and_those_behind_it_are_told_to_try_again(
    portal: tuple[str, int], plugin: SlowPlugin
) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(log_in_as, portal, number) for number in (1, 2)]
        (refused,), (waiting,) = wait(both, return_when=FIRST_COMPLETED)
        with pytest.raises(LoginRefusedError, match="0x0301"):
            refused.result()
        plugin.go.set()
        with waiting.result() as session:
            assert session.make_ready().read(0, 1) == bytes(512)
            with log_in_as(portal, 3) as other:
                assert other.make_ready().read(0, 1) == bytes(512)
    assert len(plugin.opened) == 1


def test_client_that_leaves_while_its_disk_is_opened_leaves_an_open_disk_to_the_next(
    portal: tuple[str, int], plugin: SlowPlugin
) -> None:
    gone = Connection(connect(portal))
    keys = {"InitiatorName": f"{PREFIX}.node:1", "TargetName": TARGET, **NORMAL_KEYS}
    text = "".join(f"{key}={value}\0" for key, value in keys.items()).encode()
    gone.send(b"\x43\x87\0\0" + bytes(4) + LINUX_ISID + bytes(34), text)
    with pytest.raises(LoginRefusedError, match="0x0301"):
        log_in_as(portal, 2)
    gone.socket.close()
    plugin.go.set()
    with log_in_as(portal, 3) as session:
        assert session.make_ready().read(0, 1) == bytes(512)
    assert len(plugin.opened) == 1
