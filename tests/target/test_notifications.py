"""What plugins hear of a machine's boot while the real server runs (hookspecs: session_opened, session_closed,
node_booted)."""

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.target.conftest import install
from tests.target.daemon import Herd
from tests.target.initiator import loader_isid

DIARY = """
from pathlib import Path

from goldherd import hookimpl

BOOK = Path({book!r})


def note(*words):
    with BOOK.open("a") as file:
        print(*words, file=file)


@hookimpl
def session_opened(session):
    note("opened", session.isid.hex())
    raise RuntimeError("a plugin that fails here harms nobody")


@hookimpl
def session_closed(session, reason):
    note("closed", session.isid.hex(), reason)


@hookimpl
def node_booted(node, session):
    note("booted", node)
"""


def test_status_shows_the_faults_of_each_plugin(herd: Herd, site: Path, tmp_path: Path) -> None:
    install("diary", DIARY.format(book=str(tmp_path / "book")), site)
    with herd.serve() as daemon:

        def plugins() -> dict[str, dict[str, Any]]:
            return {found["name"]: found for found in herd.status()["daemon"]["plugins"]}

        before = plugins()
        assert {"diary", "vhd", "auth_chap"} <= set(before)
        assert all(found == {"name": name, "faults": 0, "last": None, "at": None} for name, found in before.items())
        with daemon.log_in("pc-001"):
            after = plugins()
            deadline = time.monotonic() + 20
            while after["diary"]["faults"] == 0:  # notifications have a thread of their own
                assert time.monotonic() < deadline, "the fault was never counted"
                after = plugins()
        assert after["diary"]["faults"] == 1
        assert after["diary"]["last"].startswith("The plugin diary failed in session_opened (RuntimeError: ")
        assert datetime.fromisoformat(after["diary"]["at"]).tzinfo is not None
        assert {**after, "diary": before["diary"]} == before


def test_plugin_hears_of_a_boot(herd: Herd, site: Path, tmp_path: Path) -> None:
    book = tmp_path / "book"
    install("diary", DIARY.format(book=str(book)), site)
    with herd.serve() as daemon:
        with daemon.log_in("pc-001", isid=loader_isid(1)) as loader:
            system = daemon.log_in("pc-001")
            again = daemon.log_in("pc-001")  # the initiator of the booted system takes over
            assert system.ended()
            again.log_out()
            assert daemon.stop() == 0
            assert loader.ended()
        assert "Traceback" not in daemon.log
    assert book.read_text().splitlines() == [
        "opened 400027230001",
        "opened 00023d000001",
        "booted pc-001",
        "closed 00023d000001 a new session took its place",
        "opened 00023d000001",
        "closed 00023d000001 logout",
        "closed 400027230001 the server stopped",
    ]
