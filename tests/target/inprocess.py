"""A server in the test's own process: its limits, its directory and its plugins are the test's."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from goldherd.app import OneTarget
from goldherd.hooks import BUILTIN, Hooks
from goldherd.model.targets import Directory, LunConfig, TargetConfig
from goldherd.settings import server_settings
from goldherd.target.server import Server

from tests.support.targets import PREFIX

TARGET, INITIATOR = f"{PREFIX}:one", f"{PREFIX}.node:one"


def one_disk(folder: Path) -> TargetConfig:
    """A target whose disk is a file of zeros."""
    disk = folder / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    return TargetConfig(TARGET, (LunConfig(0, str(disk)),))


@contextmanager
def serving(
    folder: Path, *, directory: Directory | None = None, hooks: Hooks | None = None, rest: Any = None, **limited: Any
) -> Iterator[tuple[str, int]]:
    """The portal of a server; `limited` are its settings and `rest` the other arguments of Server."""
    settings = server_settings(
        **{"listen": "127.0.0.1:0", "reactors": 0, "cache": "1M", "shutdown_seconds": 0} | limited
    )
    asked = directory or OneTarget(one_disk(folder))
    found: list[tuple[str, int]] = []
    ready = threading.Event()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        server = Server(asked, settings, hooks or Hooks(BUILTIN.items()), **(rest or {}))
        found.extend((address.host, address.port) for address in await server.start())
        ready.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
