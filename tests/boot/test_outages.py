"""A Linux node works on while its daemon is killed, restarted and handed over, and while its disk hangs or is full.

One boot, one outage after the other: the node's files are verified at the end, its kernel saw no I/O fail, and a
second node on another file system notices nothing while the first one's disk is in trouble.

GOLDHERD_TEST_BEFORE names the Python of another goldherd, such as the release before: then that one makes the herd and
serves it first, and the restart is the upgrade to this one.
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.boot.bystander import Bystander
from tests.boot.golden import run
from tests.boot.node import LoadedNode
from tests.boot.volume import Volume
from tests.support.process import Process, free_port
from tests.support.targets import GOLDHERD, PREFIX
from tests.target.daemon import Daemon, Herd
from tests.target.handing import end

pytestmark = [pytest.mark.boot, pytest.mark.timeout(1800)]
NODES = ("pc-[1-2]", "--image", "lab")
GOLDEN_BYTES = 64 << 20
VOLUME_BYTES = 128 << 20
HANG_SECONDS = 30
FULL_SECONDS = 120
HANDOVERS = 10
BEFORE = os.environ.get("GOLDHERD_TEST_BEFORE", sys.executable)
CHECKS = ("login", "mount", "golden_data", "files_are_right", "files_are_right_after_a_mount", "kernel_saw_no_error")


def make_golden(folder: Path) -> Path:
    """An ext4 with some data, whose hash the guest checks."""
    tree, image = folder / "tree", folder / "golden.raw"
    tree.mkdir()
    data = random.Random("outages").randbytes(4 << 20)
    (tree / "golden.bin").write_bytes(data)
    (tree / "golden.sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  /run/disk/golden.bin\n")
    run("mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", tree, image, f"{GOLDEN_BYTES >> 10}k")
    return image


@dataclass
class Scene:
    """A herd of two nodes whose overlays are on a volume of their own, its daemon, and the first node at work."""

    folder: Path
    herd: Herd
    volume: Volume
    port: int = field(default_factory=free_port)
    daemon: Daemon | None = None
    statuses: list[int] = field(default_factory=list)
    """Of daemons that were asked to end."""
    bystanders: dict[str, str] = field(default_factory=dict)
    """By outage: what the second node saw that it should not, "" when nothing."""
    upgraded: list[dict[str, Any]] = field(default_factory=list)
    """What each hand-over answered."""
    at_work: LoadedNode | None = None

    @property
    def node(self) -> LoadedNode:
        """The first node."""
        assert self.at_work is not None
        return self.at_work

    def make(self) -> None:
        """The golden image and the nodes, by the goldherd that is there before."""
        for words in (("image", "import", make_golden(self.folder), "--name", "lab"), ("node", "add", *NODES)):
            run(BEFORE, *GOLDHERD[1:], "--data", self.herd.data, *words)

    def serve(self, python: str = sys.executable) -> None:
        """A daemon, always at the same port, as a supervisor starts it."""
        words = ("--data", self.herd.data, "serve", "--listen", f"127.0.0.1:{self.port}")
        process = Process([python, *GOLDHERD[1:], *map(str, words)], self.folder / f"serve-{time.monotonic_ns()}.log")
        process.read_line("ready ")
        self.daemon = Daemon(process, ("127.0.0.1", self.port))

    @property
    def running(self) -> Daemon:
        """The daemon."""
        assert self.daemon is not None
        return self.daemon

    def watched(self, name: str, outage: AbstractContextManager[None], seconds: float) -> None:
        """An outage of the first node's disk, with the second node beside it."""
        golden = (self.folder / "golden.raw").read_bytes()
        with Bystander(lambda: self.running.log_in("pc-2"), golden) as bystander, outage:
            time.sleep(seconds)
        print(f"{name}: the second node had {bystander}")
        self.bystanders[name] = bystander.failure

    def kill(self) -> None:
        """SIGKILL, and a start."""
        self.running.process.stop(signal.SIGKILL)
        self.serve()

    def restart(self) -> None:
        """SIGTERM, and a start: how another version takes over without a hand-over."""
        self.statuses.append(self.running.stop())
        self.serve()

    def hand_over(self) -> None:
        """New processes take over, one after the other, while the node works."""
        for _ in range(HANDOVERS):
            self.upgraded.append(json.loads(self.herd.do("upgrade", "--json")))
            self.node.await_rounds(1)

    def hang(self) -> None:
        """The volume answers nothing for a while."""
        self.watched("hang", self.volume.hanging(), HANG_SECONDS)

    def fill(self) -> None:
        """The volume has no space for a while: writes are held, and go on by themselves."""
        self.watched("full", self.volume.full(), FULL_SECONDS)


OUTAGES: dict[str, Callable[[Scene], None]] = {
    "restart": Scene.restart,
    "kill": Scene.kill,
    "hang": Scene.hang,
    "full": Scene.fill,
    "hand-over": Scene.hand_over,
}
"""In this order."""


@dataclass
class Told:
    """What happened, for the tests to judge."""

    found: dict[str, str]
    survived: dict[str, str]
    """By outage: "" when the node went on with its work, else what was seen."""
    scene: Scene


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    """The whole story. The data lies below /var/tmp: a file in memory can't hang."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        data = folder / "data"
        volume = Volume(folder / "overlays.ext4", data / "overlays", VOLUME_BYTES)
        scene = Scene(folder, Herd(data), volume)
        try:
            scene.make()
            scene.serve(BEFORE)
            node = scene.at_work = LoadedNode(folder / "node", scene.port, f"{PREFIX}:pc-1", f"{PREFIX}.node:pc-1")
            node.await_rounds(3)
            survived = {}
            for outage, happens in OUTAGES.items():
                try:
                    happens(scene)
                    node.await_rounds(3)
                    survived[outage] = ""
                except AssertionError as failure:
                    survived[outage] = str(failure)
                    break
            found = node.finish()
            end(scene.herd, scene.running.process.pid)
            scene.statuses.append(scene.running.stop())
            yield Told(found, survived, scene)
        finally:
            if scene.at_work is not None:
                scene.at_work.switch_off()
            if scene.daemon is not None:
                with contextlib.suppress(ProcessLookupError):  # the whole family: those that took over too
                    os.killpg(scene.daemon.process.pid, signal.SIGKILL)
            if kept := os.environ.get("GOLDHERD_TEST_KEEP"):
                shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("data", "overlays*"), dirs_exist_ok=True)
            volume.unmount()


@pytest.mark.parametrize("outage", OUTAGES)
def test_node_goes_on_after(told: Told, outage: str) -> None:
    assert told.survived.get(outage, "it was not reached") == ""


@pytest.mark.parametrize("check", CHECKS)
def test_node_finds(told: Told, check: str) -> None:
    assert told.found.get(check, "it was not reached") == ""


def test_nothing_else_went_wrong(told: Told) -> None:
    assert {name: why for name, why in told.found.items() if why and name not in CHECKS} == {}


@pytest.mark.parametrize("outage", ["hang", "full"])
def test_second_node_notices_nothing_of(told: Told, outage: str) -> None:
    assert told.scene.bystanders.get(outage, "it was not reached") == ""


def test_each_hand_over_took_the_nodes_session_along(told: Told) -> None:
    upgrades = told.scene.upgraded
    print(f"hand-overs paused for {[upgrade['pause_seconds'] for upgrade in upgrades]} s")
    assert [upgrade["sessions"] for upgrade in upgrades] == [1] * HANDOVERS


def test_daemons_end_in_good_order(told: Told) -> None:
    assert set(told.scene.statuses) == {0}
