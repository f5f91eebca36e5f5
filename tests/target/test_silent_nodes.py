"""Nodes that were up and then say nothing: what is noticed, told and done, with times of seconds instead of minutes."""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from goldherd.hooks import Hooks
from goldherd.hookspecs import hookimpl
from goldherd.settings import server_settings
from goldherd.target.lifecycle.silence import Silence

from tests.target.conftest import install
from tests.target.daemon import QUICK, Herd
from tests.target.initiator import loader_isid
from tests.target.test_hung_disks import until

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "plugin_power" / "goldherd_power.py"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pings every second, silence after three, and a node is told of after as many more."""
    for name, value in (("PING_SECONDS", "1"), ("PING_TIMEOUT_SECONDS", "3"), ("SILENT_NODE_MINUTES", "0.1")):
        monkeypatch.setitem(QUICK, f"GOLDHERD_{name}", value)


@pytest.fixture
def orders(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example's plugin, whose power command writes down the nodes that it is given."""
    install("goldherd_power", EXAMPLE.read_text(), site)
    book = tmp_path / "orders"
    book.touch()
    script = tmp_path / "power.py"
    script.write_text(f"import sys\nopen({str(book)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n")
    monkeypatch.setenv("POWER_COMMAND", f"{sys.executable} {script} cycle {{node}}-bmc")
    return book


def silent(herd: Herd) -> list[dict[str, Any]]:
    """What the status says of silent nodes."""
    found: list[dict[str, Any]] = herd.status()["daemon"]["silent_nodes"]
    return found


def test_node_that_has_answered_pings_and_falls_silent_is_told_of(herd: Herd, orders: Path) -> None:
    with herd.serve() as daemon:
        hung, quiet = daemon.log_in("pc-001"), daemon.log_in("pc-003")
        loader = daemon.log_in("pc-002", isid=loader_isid(1))
        daemon.log_in("pc-004").socket.close()
        hung.answer_ping()
        until(lambda: [node["node"] for node in silent(herd)] == ["pc-001"])
        assert "pc-001 was up and has been silent" in herd.do("status")
        for session in (quiet, loader):  # they have never answered a ping
            session.read(0, 8)
        assert "somebody should look at this node" in daemon.log
        assert orders.read_text() == "", "the settings allow no power cycle"
        with daemon.log_in("pc-001"):
            assert silent(herd) == []
            until(lambda: "a silent node is back" in daemon.log)


def test_silent_node_is_power_cycled_as_often_as_the_settings_allow(
    herd: Herd, orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(QUICK, "GOLDHERD_POWER_CYCLES_PER_HOUR", "2")
    with herd.serve() as daemon:
        hung = daemon.log_in("pc-001")
        hung.answer_ping()
        until(lambda: "not power-cycled again within the hour" in daemon.log)
        assert orders.read_text() == "cycle pc-001-bmc\n" * 2
        assert [node["power_cycles"] for node in silent(herd)] == [2]


def test_node_that_is_gone_from_the_catalog_is_left_alone() -> None:
    now, told = 0.0, []

    class Power:
        @hookimpl
        def power_cycle(self, node: str) -> bool:
            told.append(node)
            return True

    async def exists(target: str) -> bool:
        return target != "iqn.gone"

    hooks = Hooks([])
    hooks.register(Power(), "power")
    settings = server_settings(silent_node_minutes=5, power_cycles_per_hour=1)
    silence = Silence(lambda: settings, hooks, lambda _target: False, exists, lambda: now)
    for node in ("gone", "there"):
        config: Any = SimpleNamespace(node=node)
        session: Any = SimpleNamespace(target=f"iqn.{node}", open_target=SimpleNamespace(config=config))
        silence.note_end(session, silent=True)
    for seconds in (10.0, 299.0, 500.0, 900.0, 2000.0):
        now = seconds
        asyncio.run(silence.look())
    assert told == ["there"]
    assert [node["node"] for node in silence.describe()] == ["there"]
    now = 5000.0
    asyncio.run(silence.look())
    assert told == ["there", "there"], "an hour later it may be tried again"
    now = 90_000.0
    asyncio.run(silence.look())
    assert silence.describe() == [], "silent for a day: it was switched off"
