"""What keeps the system from shutting down while nodes run, with programs in place of systemd-inhibit."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from goldherd.inhibitor import Inhibitor

HOLDS = """#!/bin/sh
echo "$@" >> {folder}/told
while [ "$1" != "${{1#--}}" ]; do shift; done
"$@"
echo gone >> {folder}/told
"""
REFUSES = "#!/bin/sh\necho 'Failed to inhibit: Access denied' >&2\nexit 1\n"


def program(folder: Path, script: str) -> str:
    path = folder / "inhibit"
    path.write_text(script.format(folder=folder))
    path.chmod(0o755)
    return str(path)


async def until(what: Callable[[], bool]) -> None:
    """Waits for something that happens by itself."""
    async with asyncio.timeout(30):
        while not what():
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goldherd.inhibitor.INHIBIT_SECONDS", 0.02)


def test_lock_is_held_while_nodes_run(tmp_path: Path) -> None:
    told = tmp_path / "told"
    nodes = 0

    def lines() -> list[str]:
        return told.read_text().splitlines() if told.exists() else []

    async def run() -> None:
        nonlocal nodes
        following = asyncio.create_task(Inhibitor("block", program(tmp_path, HOLDS)).follow(lambda: nodes))
        await asyncio.sleep(0.1)
        assert lines() == []
        nodes = 12
        await until(lambda: len(lines()) == 1)
        assert lines()[0].startswith("--what=shutdown:sleep --who=goldherd --why=12 nodes or more run")
        assert "--mode=block" in lines()[0]
        nodes = 0
        await until(lambda: lines()[1:] == ["gone"])
        nodes = 1
        await until(lambda: len(lines()) == 3)
        following.cancel()
        await until(lambda: lines()[3:] == ["gone"])

    asyncio.run(run())


def test_system_that_refuses_is_told_of_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every_level = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(0))
    monkeypatch.setattr("goldherd.inhibitor.log", every_level)
    with structlog.testing.capture_logs() as logs:
        asyncio.run(Inhibitor("delay", program(tmp_path, REFUSES)).follow(lambda: 1))
    assert [(line["log_level"], line["reason"]) for line in logs] == [
        ("debug", "Failed to inhibit: Access denied"),
    ]


def test_nothing_is_held_when_the_settings_say_so(tmp_path: Path) -> None:
    asyncio.run(Inhibitor("no", program(tmp_path, HOLDS)).follow(lambda: 1))
    assert not (tmp_path / "told").exists()


def test_system_without_logind_goes_on() -> None:
    """The real program, on a system that has no logind: it fails, or is not there at all."""
    script = (
        "import asyncio; from goldherd.inhibitor import Inhibitor; asyncio.run(Inhibitor('block').follow(lambda: 1))"
    )

    async def run() -> int | None:
        environment = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nowhere", "PATH": "/usr/bin:/bin"}
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, env=environment)
        return await asyncio.wait_for(child.wait(), 60)

    assert asyncio.run(run()) == 0
