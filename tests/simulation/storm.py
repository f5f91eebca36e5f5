"""Reinstatement storms: the real server, many machines with the same initiator port, and nothing that holds still.

Two racers log in as the same initiator port again and again (a machine that is reset in the middle of a boot, a clone
with the same name), with one or several connections, drop theirs at any byte, log out, or just stay silent; a
bystander works on the same disk all the time. The disk itself checks every write when it lands: it must be of the
session that counts at that moment.
"""

import asyncio
import contextlib
import itertools
import random
from dataclasses import dataclass
from typing import Any

import structlog
from goldherd.app import OneTarget
from goldherd.block.memory import MemoryImage
from goldherd.hooks import Hooks
from goldherd.hookspecs import hookimpl
from goldherd.model.targets import LunConfig, TargetConfig
from goldherd.settings import server_settings
from goldherd.target.server import Server

from tests.simulation.life import BLOCK_BYTES, TARGET, Bystander, Gone, Life
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import Network

ENDLESS_SECONDS = 3600.0


@dataclass
class Storm:
    """The world of one seed."""

    seed: int
    racers: int = 2
    lives: int = 12

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.network = Network(self.chance)
        self.loop = SimulatedLoop(self.chance, self.network.something, self.check)
        self.loop.network = self.network
        self.lives_begun = itertools.count(1)
        self.life_of: dict[int, Life] = {}
        """By the number of a session's leading connection."""
        self.current: dict[int, Life] = {}
        """Whose session counts, by port."""
        self.landed: set[bytes] = set()
        self.disks: list[Disk] = []
        self.wrong: list[str] = []
        self.server: Server | None = None
        self.counts = {"sessions": 0, "replaced": 0, "writes": 0}

    # --- the plugin ---

    @hookimpl
    def open_image(self, url: str) -> "Disk | None":
        if not url.startswith("storm:"):
            return None
        self.expect(not self.disks or self.disks[-1].closed, "the disk was opened twice")
        self.disks.append(Disk(self, self.disks[-1] if self.disks else None))
        return self.disks[-1]

    @hookimpl
    def session_opened(self, session: Any) -> None:
        life = self.life_of[int(session.address.rpartition(":")[2])]
        old = self.current.get(life.port)
        self.expect(old is None or old.session.set_aside, f"session {life} began while {old} was open")
        self.current[life.port], life.session = life, session
        self.counts["sessions"] += 1

    @hookimpl
    def session_closed(self, session: Any, reason: str) -> None:
        life = self.life_of[int(session.address.rpartition(":")[2])]
        if not session.set_aside:
            ended = self.current.pop(life.port, None)
            self.expect(ended is life, f"session {life} ended while {ended} was the one that counts")
        elif self.current.get(life.port) is life:
            del self.current[life.port]
        self.counts["replaced"] += reason == "a new session took its place"

    # --- what must always be true ---

    def expect(self, condition: bool, wrong: str) -> None:
        """For places whose exceptions the server would take for a plugin's fault."""
        if not condition:
            self.wrong.append(f"at {self.loop.time():.3f} s: {wrong}")

    def check(self) -> None:
        """At every step of the loop."""
        assert not self.wrong, self.wrong
        assert self.loop.time() < ENDLESS_SECONDS, "the storm never ends"
        if self.server is None:
            return
        ports = [(each.initiator, each.isid) for each in self.server.sessions if not each.set_aside]
        assert len(ports) == len(set(ports)), "two sessions of one initiator port"

    def run(self) -> None:
        try:
            with structlog.testing.capture_logs() as logs:
                self.loop.run_until_complete(self._run())
        finally:
            self._clear_up()
        bad = [entry for entry in logs if entry["log_level"] in ("error", "critical")]
        assert not bad, bad

    def _clear_up(self) -> None:
        """Whatever a failure has left running ends, without more words."""
        self.loop.check = lambda: None
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left))
        for reactor in self.network.reactors:
            while reactor.jobs:
                reactor.finish_job(0)
        self.loop.close()

    async def _run(self) -> None:
        settings = server_settings(
            listen=["127.0.0.1:0"],
            reactors=0,
            connections_max=3,
            cache="1M",
            shutdown_seconds=2.0,
            shutdown_flush_seconds=60.0,
            login_failures=9999,
        )
        target = TargetConfig(TARGET, (LunConfig(0, "disk", format="storm"),))
        hooks = Hooks()
        assert hooks.register(self, "storm", ours=True)
        self.server = server = Server(
            OneTarget(target),
            settings,
            hooks,
            linger_seconds=self.chance.choice((0.1, 10.0)),
            make_reactor=self.network.make_reactor,
            clock=self.loop.time,
        )
        await server.start()
        over = asyncio.Event()
        bystander = self.loop.create_task(Bystander(self, self.racers).work(over))
        racers = [self.loop.create_task(self._race()) for _ in range(self.racers)]
        trouble = self.loop.create_task(self._hang_now_and_then())
        try:
            await asyncio.gather(*racers)
            over.set()
            await bystander
        finally:
            for task in (trouble, bystander, *racers):
                task.cancel()
        await Life(self, 0).end_well()
        await server.stop()
        self._check_nothing_left(server)

    async def _race(self) -> None:
        for _ in range(self.lives):
            with contextlib.suppress(Gone):
                await Life(self, 0).live()
            await asyncio.sleep(self.chance.random() ** 3 * 3)

    async def _hang_now_and_then(self) -> None:
        """The disk does nothing for a while, sometimes longer than anybody waits for it."""
        while True:
            await asyncio.sleep(self.chance.random() * 60)
            seconds = self.chance.choice((1, 3, 7, 20))
            self.network.jobs_hang_until = self.loop.time() + seconds
            await asyncio.sleep(seconds)

    def _check_nothing_left(self, server: Server) -> None:
        (reactor,) = self.network.reactors
        assert not len(server.sessions) and not self.current
        assert not reactor.jobs
        assert reactor.live_tasks == 0, "a task was left"
        assert reactor.buffer_bytes == 0, "a write buffer was left"
        assert all(disk.closed for disk in self.disks)
        left = [pipe.number for pipe in self.network.pipes.values() if not pipe.to_initiator.ended]
        assert not left, f"the server left connections open: {left}"


class Disk(MemoryImage):
    """Says at once when something is written that must not be."""

    def __init__(self, storm: Storm, before: "Disk | None") -> None:
        super().__init__(1 << 20)
        self.storm, self.closed = storm, False
        if before is not None:
            self._data = before._data

    def write(self, offset_bytes: int, data: memoryview) -> None:
        self.storm.expect(not self.closed, "the disk was written after it was closed")
        for at in range(0, len(data), BLOCK_BYTES):
            stamp = bytes(data[at : at + 16])
            port, life = int.from_bytes(stamp[:4]), int.from_bytes(stamp[4:8])
            current = self.storm.current.get(port)
            counts = current is not None and current.number == life
            self.storm.expect(counts, f"a write of session {life} landed while {current} was the one that counts")
            self.storm.landed.add(stamp)
        super().write(offset_bytes, data)

    def close(self) -> None:
        self.storm.expect(not self.closed, "the disk was closed twice")
        self.closed = True


def storm(seed: int) -> dict[str, int]:
    """One storm; what happened in it."""
    world = Storm(seed)
    world.run()
    return world.counts
