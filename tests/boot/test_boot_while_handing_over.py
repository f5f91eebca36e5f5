"""iPXE, the kernel and the login from the iBFT notice nothing of a daemon that hands over again and again meanwhile."""

import json
import threading
from pathlib import Path

import pytest

from tests.boot.conftest import boot_all
from tests.boot.golden import fetch_golden
from tests.support.targets import GoldherdHerd
from tests.target.daemon import Herd
from tests.target.handing import end

pytestmark = [pytest.mark.boot, pytest.mark.timeout(900)]
PAUSE_SECONDS = 1
HANDOVERS_MIN = 3
"""A boot takes longer than so many of them, with their pauses."""


def test_a_boot_goes_through(tmp_path: Path) -> None:
    with GoldherdHerd(fetch_golden().vhd, "pc-1", tmp_path) as herd:
        herd.serve()
        over, pauses = threading.Event(), []

        def hand_over() -> None:
            while not over.wait(PAUSE_SECONDS):
                pauses.append(json.loads(herd.command("upgrade", "--json"))["pause_seconds"])

        hands = threading.Thread(target=hand_over)
        hands.start()
        try:
            said = boot_all(herd, tmp_path, ["pc-1"])["pc-1"]
        finally:
            over.set()
            hands.join()
            end(Herd(herd.data), herd.pid)
        print(f"{len(pauses)} hand-overs, the longest pause {max(pauses)} s")
        assert "golden data good" in said and "boots pc-1" in said
        assert len(pauses) >= HANDOVERS_MIN
