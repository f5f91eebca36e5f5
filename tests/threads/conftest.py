"""A whole server in this process: control plane on one thread, reactors on two more, clients on others.

Run under ThreadSanitizer by `scripts/sanitize thread`, which sees every access of the compiled modules; without it
these tests are a stress of the same code.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from goldherd.app import OneTarget
from goldherd.hooks import BUILTIN, Hooks
from goldherd.model.targets import LunConfig, TargetConfig
from goldherd.settings import server_settings
from goldherd.target.server import Server

from tests.target.initiator import Session, log_in

TARGET = "iqn.2026-11.io.goldherd:threads"
INITIATOR = "iqn.2026-11.io.goldherd.node:threads"
DISK_BYTES = 8 << 20


class Running:
    """A server on a thread of its own."""

    def __init__(self, target: TargetConfig, **options: Any) -> None:
        settings = server_settings(
            listen=["127.0.0.1:0"], reactors=2, connections_max=4, shutdown_seconds=0.0, flush_seconds=0.05, **options
        )
        hooks = Hooks((name, module) for name, module in BUILTIN.items())
        self.server = Server(OneTarget(target), settings, hooks, linger_seconds=0.01)
        self._ready = threading.Event()
        self._stop: Callable[[], None] = lambda: None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="control-plane")
        self._thread.start()
        assert self._ready.wait(120)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        async def main() -> None:
            loop, stopping = asyncio.get_running_loop(), asyncio.Event()
            try:
                (portal,) = await self.server.start()
                self.portal = (portal.host, portal.port)
                self._stop = lambda: loop.call_soon_threadsafe(stopping.set)
            except BaseException as failure:
                self._failure = failure
                raise
            finally:
                self._ready.set()
            await stopping.wait()
            await self.server.stop()

        asyncio.run(main())

    def stop(self) -> None:
        """Ends it in good order."""
        self._stop()
        self._thread.join(120)
        assert not self._thread.is_alive(), "the server does not stop"

    def log_in(self, number: int, **more: Any) -> Session:
        """A session with an ISID of its own."""
        isid = bytes.fromhex("00023d") + number.to_bytes(3, "big")
        more = {"isid": isid} | more
        session = log_in(self.portal, TARGET, INITIATOR, **more).make_ready()
        while session.command(bytes(6), lun=1).key[0] == 6:
            pass
        return session

    def join(self, first: Session, cid: int) -> Session:
        """One more connection of a session."""
        return log_in(self.portal, TARGET, INITIATOR, joins=first, cid=cid)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A raw disk that may be written (LUN 0), and a golden one that its cache has no room for (LUN 1)."""
    for name in ("disk", "golden"):
        with (tmp_path / f"{name}.raw").open("wb") as file:
            file.truncate(DISK_BYTES)
    luns = (
        LunConfig(0, str(tmp_path / "disk.raw"), "raw"),
        LunConfig(1, str(tmp_path / "golden.raw"), "raw", sealed=True, read_only=True),
    )
    running = Running(TargetConfig(TARGET, luns), cache=1 << 20)
    yield running
    running.stop()


def together(*works: Callable[[], None]) -> None:
    """Runs them at the same time, each on a thread; the first failure is raised when all have ended."""
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
        assert not thread.is_alive(), "a client waits for ever"
    if failures:
        raise failures[0]
