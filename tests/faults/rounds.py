"""Rounds of work on several disks that end in a power cut, or in the death of the daemon alone.

A round starts both daemons (`serve` for nodes, `export` for raw, sparse and dynamic disks) on what the round before
left, logs in, reads every disk whole and judges it, works, and cuts. One seed decides the work, the moment of the cut,
and what of the unsynced data survives; the order in which the daemon's threads reach the file system is its own.
"""

import contextlib
import hashlib
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.pattern import write_pattern
from tests.faults.filesystem import FaultFs
from tests.faults.launcher import Launched, Launcher
from tests.faults.record import DiskRecord
from tests.faults.work import Disk, Worker, do_batch, read_disk
from tests.support.targets import PREFIX
from tests.target.daemon import Herd
from tests.target.initiator import LINUX_ISID, Session, log_in

DISK_BYTES = 12 << 20
BLOCK_BYTES = 64 << 10
"""Of a dynamic disk, so that many writes need a new one; nodes have blocks of 2 MiB."""
FORMATS = ("raw", "sparse", "dynamic", "differencing")
NODES = ("pc-1", "pc-2")
ROUNDS_OF_ONE_DISK = 6
"""Then the disks are made anew, so that blocks are allocated again."""
KILL_SHARE = 0.2
SPOIL_SHARE = 0.15
SYNC_ERRORS = ("EIO", "ENOSPC", "EDQUOT", "ENODATA", "EREMOTEIO", "ETIMEDOUT", "ENOLINK", "ESTALE", "EUCLEAN")
SLOW = {"GOLDHERD_FLUSH_SECONDS": "60"}
"""Before a kill: what the guest has not flushed, the daemon has not either."""
QUICK = {"GOLDHERD_FLUSH_SECONDS": "0.3"}
WRITTEN_THROUGH = FORMATS
"""Formats whose acknowledged writes all survive the daemon."""
REPAIRED_AT_OPENING = ("has lost its footer", "has an old copy of its footer")
FORMAT_NAMES = {"raw": "raw", "sparse": "sparse", "dynamic": "vhd", "differencing": "vhd"}


class Violation(AssertionError):
    """A promise was broken."""


@dataclass
class Tally:
    """What was done so far."""

    cuts: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    spoiled: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    flushes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def table(self) -> str:
        """For people, and for docs/reliability.md."""
        titles = (
            "format",
            "disks cut",
            "after a kill",
            "after a sync that lost data",
            "writes answered",
            "flushes answered",
        )
        lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
        for name in FORMATS:
            if self.cuts[name]:
                counted = (self.cuts, self.kills, self.spoiled, self.writes, self.flushes)
                counts = [counter[name] for counter in counted]
                lines.append(f"| {name} | " + " | ".join(f"{count:,}" for count in counts) + " |")
        return "\n".join(lines)


class DiskRounds:
    """Disks on a file system whose power is cut again and again.

    Args:
        program: the file system (filesystem.build).
        launcher: starts the daemons.
        folder: an empty folder of its own.
        seed: decides everything that can be decided.
        formats: which kinds of disks there are; the others are left out.
        lie: whether fsync does nothing, to see that it is noticed.
        forget: whether a kill takes the memory away that outlives the daemon, to see that this is noticed.
    """

    def __init__(
        self,
        program: Path,
        launcher: Launcher,
        folder: Path,
        seed: int,
        *,
        formats: Sequence[str] = FORMATS,
        lie: bool = False,
        forget: bool = False,
    ) -> None:
        self._choose = random.Random(seed)
        self._launcher = launcher
        self.seed, self.formats, self.lie, self.forget = seed, formats, lie, forget
        self.filesystem = FaultFs(program, folder)
        self.tally = Tally()
        self.disks: list[Disk] = []
        self._folder = folder
        self._disk_number = 0
        self._how = "the first disks"
        """How the state came about that is judged next."""
        self._template = folder / "template"
        self._make_template()

    # --- the disks ---

    def _make_template(self) -> None:
        """Makes the data folder and the disk files by goldherd's own commands, under the path that they will have."""
        source = write_pattern(self._folder / "golden.raw", DISK_BYTES)
        self._base = source.read_bytes()
        with self.filesystem as mounted:
            herd = Herd(mounted.path / "data")
            herd.do("image", "import", source, "--name", "lab")
            herd.do("node", "add", ",".join(NODES), "--image", "lab")
            self._golden = hashlib.sha256(herd.golden.read_bytes()).digest()
            exports = mounted.path / "exports"
            exports.mkdir()
            for name in self._exported:
                _create(name, exports / name)
            mounted.end()
        shutil.copytree(mounted.backing, self._template, symlinks=True)

    @property
    def _exported(self) -> list[str]:
        return [name for name in self.formats if name != "differencing"]

    def renew(self) -> None:
        """New disks, as they were made."""
        shutil.rmtree(self.filesystem.backing)
        shutil.copytree(self._template, self.filesystem.backing, symlinks=True)
        self.disks = [
            Disk(self._record(name, bytes(DISK_BYTES)), "export", lun, name) for lun, name in enumerate(self._exported)
        ]
        if "differencing" in self.formats:
            self.disks += [Disk(self._record(node, self._base), node, 0, "differencing") for node in NODES]

    def _record(self, name: str, base: bytes) -> DiskRecord:
        self._disk_number += 1
        return DiskRecord(name, self._disk_number, base)

    # --- a round ---

    def run(self, rounds: int, *, deadline: float | None = None) -> Tally:
        """Plays rounds, until time.monotonic() passes the deadline if there is one; each violation is kept."""
        for number in range(rounds):
            if deadline is not None and time.monotonic() > deadline:
                break
            if number % ROUNDS_OF_ONE_DISK == 0:
                self._checked(number, self._look)
                self.renew()
            self._checked(number, self.play)
        self._checked(rounds, self._look)
        return self.tally

    def _checked(self, number: int, deed: Callable[[], None]) -> None:
        try:
            deed()
        except Violation as broken:
            self.tally.violations.append(f"round {number} of seed {self.seed} ({self._how}): {broken}")
            self.renew()

    def play(self) -> None:
        """Starts on what the last cut left and judges it, works, cuts. Violation when something is not as it must be.

        What this cut leaves is judged by the next round, or when run() ends.
        """
        choose = self._choose
        self.filesystem.writeback = choose.random() < 0.3
        self.filesystem.order = choose.choice(("strict", "strict", "journal"))
        killed = choose.random() < KILL_SHARE
        spoiled = choose.choice(self.disks) if choose.random() < SPOIL_SHARE else None
        self._launcher.lose_memory()
        with self.filesystem as mounted:
            if self.lie:
                mounted.tell("lie on")
            with self._served(SLOW if killed else {}) as sessions:
                self._judge(sessions, stable=True)
                if spoiled is not None:
                    mounted.tell(_spoil(spoiled, choose))
                self._work(mounted, sessions, cut=not killed and spoiled is None)
            if killed:
                if self.forget:
                    self._launcher.lose_memory()
                for disk in self.disks:
                    disk.record.killed(everything=disk.format in WRITTEN_THROUGH and disk is not spoiled)
                with self._served() as sessions:
                    self._judge(sessions, stable=False)
            hits = mounted.tell("hits spoil")
            lost = mounted.cut(choose.getrandbits(48), nothing=self.lie)
            self._how = f"writeback={mounted.writeback}, order={mounted.order}, killed={killed}, {lost}"
        self._count(killed)
        self._judge_files()
        if spoiled is not None:
            self.tally.spoiled[spoiled.format] += int(hits)
            self._look()
            self.renew()  # a failed disk stays one

    def _look(self) -> None:
        """Judges what the last cut left, and works no more."""
        if self.disks:
            self.filesystem.writeback = False
            self._launcher.lose_memory()
            with self.filesystem, self._served() as sessions:
                self._judge(sessions, stable=True)

    def _work(self, mounted: FaultFs, sessions: dict[str, Session], *, cut: bool) -> None:
        """Batches on every disk until the power goes off, or long enough."""
        choose = self._choose
        workers = [Worker(disk, sessions[disk.record.name], random.Random(choose.random())) for disk in self.disks]
        batches = choose.randint(2, 24)
        armed = choose.randint(0, batches - 1) if cut and not self.lie and choose.random() < 0.7 else -1
        for number in range(batches):
            if number == armed:
                mounted.tell(f"cut-after {choose.randint(1, 60)} {choose.getrandbits(48)}")
            do_batch(workers)
        mounted.tell("cut-after 0 0")

    def _count(self, killed: bool) -> None:
        for disk in self.disks:
            self.tally.cuts[disk.format] += 1
            self.tally.kills[disk.format] += killed
            self.tally.writes[disk.format] += disk.record.writes
            self.tally.flushes[disk.format] += disk.record.flushes
            disk.record.writes = disk.record.flushes = 0

    # --- judging ---

    def _judge(self, sessions: dict[str, Session], *, stable: bool) -> None:
        """Reads every disk whole."""
        wrong = [
            complaint
            for disk in self.disks
            for complaint in disk.record.judge(read_disk(sessions[disk.record.name], disk), stable=stable)
        ]
        if wrong:
            raise Violation("; ".join(wrong))

    def _judge_files(self) -> None:
        """The files themselves, as the cut left them: whole disks, and the golden image as it was."""
        backing = self.filesystem.backing
        golden = next((backing / "data" / "images").glob("lab@1*"))
        if hashlib.sha256(golden.read_bytes()).digest() != self._golden:
            raise Violation(f"{golden} has changed")
        overlays = [*(backing / "data" / "overlays").glob("[!.]*")] if "differencing" in self.formats else []
        for path, kind in [
            *((backing / "exports" / name, FORMAT_NAMES[name]) for name in self._exported),
            *((path, "vhd") for path in overlays),
        ]:
            for complaint in _check(f"{kind}:{path}"):
                if not any(words in complaint for words in REPAIRED_AT_OPENING):
                    raise Violation(complaint)

    # --- the daemons ---

    @contextlib.contextmanager
    def _served(self, environment: Mapping[str, str] | None = None) -> Iterator[dict[str, Session]]:
        """Both daemons, and a session for each disk by its name; at the end the daemons are killed."""
        path = self.filesystem.path
        common = ("--listen", "127.0.0.1:0", "--reactors", "1", "--cache", "32M")
        commands: dict[str, list[object]] = {}
        if self._exported:
            files = [f"{FORMAT_NAMES[name]}:{path / 'exports' / name}" for name in self._exported]
            commands["export"] = ["--data", path / "none", "export", *files, *common]
        if "differencing" in self.formats:
            commands["serve"] = ["--data", path / "data", "serve", *common]
        processes: dict[str, Launched] = {}
        sessions: dict[str, Session] = {}
        try:
            for name, words in commands.items():
                log = self._folder / f"{name}.log"
                processes[name] = self._launcher.start([*map(str, words)], log, environment)
            portals = {name: _portal(process) for name, process in processes.items()}
            for number, disk in enumerate(self.disks):
                portal = portals["export" if disk.place == "export" else "serve"]
                names = f"{PREFIX}:{disk.place}", f"{PREFIX}.node:{disk.place}"
                session = log_in(portal, *names, isid=LINUX_ISID[:-1] + bytes([number]))
                sessions[disk.record.name] = session
                while session.command(bytes(6), lun=disk.lun).key[0] == 6:
                    pass
            yield sessions
        except RuntimeError as error:
            if self.filesystem.is_dead():
                raise
            raise Violation(f"the daemon does not start: {error}") from error
        finally:
            for process in processes.values():
                process.kill()
            for session in sessions.values():
                session.socket.close()


def _spoil(disk: Disk, choose: random.Random) -> str:
    """One sync of the disk fails, and what it was to bring to the disk is lost: the next sync succeeds (fsync(2))."""
    path = f"/exports/{disk.record.name}" if disk.place == "export" else f"/data/overlays/{disk.place}.*"
    return f"rule spoil lose op=fsync path={path} errno={choose.choice(SYNC_ERRORS)} nth={choose.randint(1, 4)} count=1"


def _portal(process: Launched) -> tuple[str, int]:
    place = process.read_line("ready ").removeprefix("ready ").removeprefix("iscsi://").split("/")[0]
    host, _, port = place.rpartition(":")
    return host, int(port)


def _create(name: str, path: Path) -> None:
    from goldherd.hooks import Hooks
    from goldherd_plugins.vhd.create import create_dynamic

    if name == "dynamic":
        create_dynamic(path, DISK_BYTES, BLOCK_BYTES)
    else:
        Hooks().formats.create(f"{name}:{path}", DISK_BYTES)


def _check(url: str) -> Sequence[str]:
    from goldherd.hooks import Hooks

    return Hooks().formats.check(url)
