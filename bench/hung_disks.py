"""Disks that hang beside disks that work: do the other nodes notice?

    python -m bench.hung_disks                  64 nodes, the disks of 8 of them hang

The disks of the sick nodes lie on a file system of the tests (tests/faults), which lets their writes and syncs hang;
those of the others lie in the folder that `--folder` names. Rounds of two windows alternate which comes first: in one
all disks work, in the other those of the sick nodes hang with writes and a flush under way. Some of the other nodes
write and flush one after another, and each of their flushes is timed; the rest loads the server.

Besides, a node reads 4 KiB at a time while the disk of another one works, hangs, and has no room left.
"""

import argparse
import itertools
import os
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from goldherd.limits import LANE_JOBS_MAX

from bench.accounting import cpu_seconds
from bench.apart import apart
from bench.build import build
from bench.initiator import SCSI_COMMAND, SCSI_RESPONSE, Session, log_in
from bench.pattern import words
from bench.storm import make_golden
from tests.faults.filesystem import FaultFs, scratch
from tests.faults.filesystem import build as build_faultfs
from tests.support.targets import GoldherdHerd

if TYPE_CHECKING:
    from bench.loadgen import Result

MIB: Final = 1 << 20
BLOCK_BYTES: Final = 4096
DEPTH: Final = 4
TARGET_CPU, GENERATOR_CPU = 0, 1
R2T, DATA_OUT = 0x31, 0x05
FLUSHING: Final = 8
"""Nodes whose flushes are timed."""
PENDING: Final = LANE_JOBS_MAX + 2
"""Writes of a sick node that hang: more than threads may work for one disk."""
RATIO_WANTED: Final = 0.9
FLUSH_MS_WANTED: Final = 100.0
READ_MS_WANTED: Final = 20.0
SICK_WAYS: Final = {
    "hangs": ("rule sick hang op=write path=/sick-*", "rule sync hang op=fsync path=/sick-*"),
    "is full": ("rule sick fail op=write errno=ENOSPC path=/sick-*",),
}
"""How a disk is made sick, in commands of the file system."""


@dataclass(frozen=True)
class Window:
    """What the well nodes got in one window."""

    rate: float
    """Commands per second of the nodes that load the server."""
    cpu_us: float
    """CPU of the daemon per such command."""
    flush_ms: list[float]
    """Every flush that was timed."""

    @property
    def flush_p99_ms(self) -> float:
        """The 99th percentile of the flushes."""
        return percentile(self.flush_ms, 0.99)


def percentile(values: Sequence[float], part: float) -> float:
    """The value that `part` of the values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def start_write(session: Session, tag: int, offset_bytes: int) -> None:
    """Sends WRITE(10) of one block of the pattern as immediate data, and waits for nothing."""
    cdb = struct.pack(">BBIBHx", 0x2A, 0, offset_bytes // 512, 0, BLOCK_BYTES // 512)
    _start(session, tag, 0xA1, BLOCK_BYTES, cdb, words(offset_bytes, BLOCK_BYTES))


def start_flush(session: Session, tag: int) -> None:
    """Sends SYNCHRONIZE CACHE(10) of the whole disk."""
    _start(session, tag, 0x81, 0, b"\x35" + bytes(9))


def _start(session: Session, tag: int, flags: int, length: int, cdb: bytes, data: bytes = b"") -> None:
    rest = struct.pack(">IIII", tag, length, session.cmd_sn, session.exp_stat_sn) + cdb.ljust(16, b"\0")
    session.send(SCSI_COMMAND, flags, struct.pack(">H6x", session.lun), rest, data)
    session.cmd_sn = (session.cmd_sn + 1) & 0xFFFFFFFF


def take_status(session: Session) -> int:
    """The status of the next command that is answered."""
    while True:
        header, _ = session.receive()
        if header[0] & 0x3F == SCSI_RESPONSE:
            session.exp_stat_sn = (int.from_bytes(header[24:28]) + 1) & 0xFFFFFFFF
            return header[3]


def finish_write(session: Session, offset_bytes: int) -> int:
    """The status of the only command, a write of start_write(), whose data the target may ask for again (R2T): it keeps
    none of a write that waits for space."""
    data = words(offset_bytes, BLOCK_BYTES)
    while True:
        header, _ = session.receive()
        if header[0] & 0x3F == SCSI_RESPONSE:
            session.exp_stat_sn = (int.from_bytes(header[24:28]) + 1) & 0xFFFFFFFF
            return header[3]
        if header[0] & 0x3F == R2T:
            tag, transfer, start, length = *struct.unpack(">II", header[16:24]), *struct.unpack(">II", header[40:48])
            rest = struct.pack(">IIIIIII", tag, transfer, 0, session.exp_stat_sn, 0, 0, start)
            session.send(DATA_OUT, 0x80, struct.pack(">H6x", session.lun), rest, data[start : start + length])


def in_order(session: Session, ask: Callable[[Session, int], None]) -> None:
    """One command and its answer, which must be GOOD."""
    ask(session, 0)
    if status := take_status(session):
        raise RuntimeError(f"a well node's command was answered with status {status:#04x}")


@dataclass
class Flusher:
    """Well nodes that write a block and flush, again and again, until they are told to stop."""

    sessions: Sequence[Session]
    took_ms: list[float] = field(default_factory=list)
    _failures: list[BaseException] = field(default_factory=list)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Works as long as the block runs."""
        self.took_ms = []
        stop = threading.Event()
        threads = [threading.Thread(target=self._work, args=(session, stop)) for session in self.sessions]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        if self._failures:
            raise self._failures[0]

    def _work(self, session: Session, stop: threading.Event) -> None:
        choose = random.Random(session.cmd_sn)
        try:
            while not stop.wait(0.01):
                offset = choose.randrange(session.size_bytes // BLOCK_BYTES) * BLOCK_BYTES
                in_order(session, lambda each, tag, at=offset: start_write(each, tag, at))  # type: ignore[misc]
                start = time.perf_counter()
                in_order(session, start_flush)
                self.took_ms.append((time.perf_counter() - start) * 1000)
        except BaseException as failure:
            self._failures.append(failure)


@dataclass
class Herd:
    """The nodes at work.

    Args:
        pid: of the daemon.
        filesystem: holds the disks of the sick nodes.
        sick, loading, flushing: their sessions, by what they do.
    """

    pid: int
    filesystem: FaultFs
    sick: list[Session]
    loading: list[Session]
    flushing: Flusher

    @contextmanager
    def hung(self) -> Iterator[None]:
        """As long as the block runs, the sick disks hang with work under way."""
        try:
            for command in SICK_WAYS["hangs"]:
                self.filesystem.tell(command)
            for session in self.sick:
                for number in range(PENDING):
                    start_write(session, number, number * BLOCK_BYTES)
                start_flush(session, PENDING)
            # One request of each file is with the file system, a write or a sync; the kernel keeps the others back.
            while sum(int(self.filesystem.tell(f"hits {rule}")) for rule in ("sick", "sync")) < len(self.sick):
                time.sleep(0.01)
            yield
        finally:
            self.filesystem.tell("clear")
        for session in self.sick:
            for _ in range(PENDING + 1):
                take_status(session)

    @contextmanager
    def full(self) -> Iterator[None]:
        """As long as the block runs, the disk of one sick node has no room, and the node goes on writing."""
        stop, session = threading.Event(), self.sick[0]

        def write() -> None:
            for number in itertools.count():
                offset = number * BLOCK_BYTES % session.size_bytes
                start_write(session, 0, offset)
                finish_write(session, offset)
                if stop.wait(0.01):
                    return

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for command in SICK_WAYS["is full"]:
                self.filesystem.tell(command)
            while int(self.filesystem.tell("hits sick")) < 1:
                time.sleep(0.01)
            yield
        finally:
            stop.set()
            self.filesystem.tell("clear")
            thread.join()

    def load(self, sessions: Sequence[Session], seconds: float, *, depth: int = DEPTH, write: bool = False) -> "Result":
        """Reads or writes of 4 KiB anywhere."""
        from bench.loadgen import Load

        load = Load(sessions)
        try:
            return load.run(block_bytes=BLOCK_BYTES, depth=depth, seconds=seconds, write=write)
        finally:
            load.close()

    def window(self, seconds: float, write: bool) -> Window:
        """Loads the server for that long, after a tenth of it to warm up."""
        self.load(self.loading, seconds / 10, write=write)
        before = cpu_seconds(self.pid)
        with self.flushing.at_work():
            result = self.load(self.loading, seconds, write=write)
        spent = cpu_seconds(self.pid) - before
        return Window(result.commands / result.seconds, spent / result.commands * 1e6, self.flushing.took_ms)


@contextmanager
def herd_of(nodes: int, sick: int, golden_bytes: int, folder: Path) -> Iterator[Herd]:
    """The daemon with every node logged in; each block of a well node's disk has been written once."""
    with ExitStack() as stack:
        memory = scratch()
        stack.callback(shutil.rmtree, memory)
        filesystem = stack.enter_context(FaultFs(build_faultfs(memory), memory))
        herd = stack.enter_context(
            GoldherdHerd(make_golden(folder, golden_bytes), f"pc-[1-{nodes}]", folder, cpu=TARGET_CPU)
        )
        names = [f"pc-{number}" for number in range(1, nodes + 1)]
        for name in names[:sick]:
            _move(herd.data, name, filesystem, stack)
        herd.serve()
        sessions = []
        for name in names:
            portal = herd.portal
            sessions.append(log_in(portal.host, portal.port, herd.iqn(name), herd.lun, herd.initiator(name)))
        loading, flushing = sessions[sick + FLUSHING :], sessions[sick : sick + FLUSHING]
        made = Herd(herd.pid, filesystem, sessions[:sick], loading, Flusher(flushing))
        _cover(sessions[sick:])
        yield made
        for session in sessions:
            session.log_out()
        herd.stop()


def _move(data: Path, name: str, filesystem: FaultFs, stack: ExitStack) -> None:
    """Lets the file of a node's disk lie on the file system that can hang, under the path where the daemon looks."""
    (disk,) = (data / "overlays").glob(f"{name}.*.vhd")
    there = filesystem.path / f"sick-{name}"
    there.write_bytes(disk.read_bytes())
    there.chmod(disk.stat().st_mode & 0o777)
    subprocess.run(["mount", "--bind", there, disk], check=True)
    stack.callback(lambda: subprocess.run(["umount", "--lazy", disk], check=True))


def _cover(sessions: Sequence[Session]) -> None:
    """Writes every block once, so that windows find all disks alike."""
    from bench.loadgen import Load

    load = Load(sessions)
    load.run(
        block_bytes=65536,
        depth=2,
        count_max=sessions[0].size_bytes // 65536,
        sequential=True,
        write=True,
        start_bytes=[0] * len(sessions),
    )
    load.close()


def run_rounds(herd: Herd, rounds: int, seconds: float, write: bool) -> list[tuple[Window, Window]]:
    """Windows in which all disks work beside windows in which the sick ones hang."""

    def well() -> Window:
        return herd.window(seconds, write)

    def beside_sick() -> Window:
        with herd.hung():
            return herd.window(seconds, write)

    pairs = []
    for number in range(rounds):
        if number % 2:
            second = beside_sick()
            pairs.append((well(), second))
        else:
            pairs.append((well(), beside_sick()))
    return pairs


@dataclass(frozen=True)
class Verdict:
    """A load over all rounds."""

    case: str
    pairs: list[tuple[Window, Window]]

    @property
    def rate_ratio(self) -> float:
        """Median over the rounds: commands per second beside the hung disks to those without."""
        return statistics.median(hung.rate / well.rate for well, hung in self.pairs)

    @property
    def cpu_ratio(self) -> float:
        """Median over the rounds: CPU per command beside the hung disks to that without."""
        return statistics.median(hung.cpu_us / well.cpu_us for well, hung in self.pairs)

    def flush_p99_ms(self, hung: bool) -> float:
        """Median over the rounds of the windows' 99th percentiles."""
        return statistics.median(pair[hung].flush_p99_ms for pair in self.pairs)

    @property
    def complaints(self) -> list[str]:
        """What is not as promised, in words."""
        found = []
        if self.rate_ratio < RATIO_WANTED:
            found.append(f"{self.case}: the others keep {self.rate_ratio:.0%} of their throughput")
        if (late := self.flush_p99_ms(True)) >= FLUSH_MS_WANTED:
            found.append(f"{self.case}: the 99th percentile of the others' flushes is {late:.0f} ms")
        return found

    def __str__(self) -> str:
        ratios = [hung.rate / well.rate for well, hung in self.pairs]
        flushes = sum(len(window.flush_ms) for pair in self.pairs for window in pair)
        return (
            f"{self.case:<16}{self.rate_ratio:>10.2f}{min(ratios):>9.2f}-{max(ratios):.2f}{self.cpu_ratio:>8.2f}"
            f"{self.flush_p99_ms(False):>14.1f}{self.flush_p99_ms(True):>14.1f}{flushes:>9}"
        )


HEADING: Final = f"{'case':<16}{'rate':>10}{'least-most':>14}{'CPU':>8}{'p99 ms':>14}{'p99 ms hung':>14}{'flushes':>9}"


def reads_of_one(herd: Herd, rounds: int, seconds: float) -> dict[str, float]:
    """The 99th percentile in milliseconds of a node's reads of 4 KiB, one at a time: the worst round of each state."""
    reader = herd.loading[:1]
    found: dict[str, float] = {}
    for _ in range(rounds):
        for state, around in (("works", None), ("hangs", herd.hung), ("is full", herd.full)):
            with ExitStack() as stack:
                if around is not None:
                    stack.enter_context(around())
                took = herd.load(reader, seconds, depth=1).p99_us / 1000
            found[state] = max(found.get(state, 0.0), took)
    return found


def main(arguments: list[str]) -> int:
    """Runs all rounds and prints the table; with --check 1 when something is not as promised."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.hung_disks", description="Disks that hang beside disks that work; needs root."
    )
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--sick", type=int, default=8, help="nodes whose disks hang")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one window")
    parser.add_argument("--golden-mib", type=int, default=8)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where the well nodes' disks lie")
    parser.add_argument("--check", action="store_true", help="exit with 1 when something is not as promised")
    options = parser.parse_args(arguments)
    if options.sick < 1 or options.nodes < options.sick + FLUSHING + 1:
        parser.error(f"--nodes must be at least --sick and {FLUSHING + 1} more")
    build()
    os.sched_setaffinity(0, {GENERATOR_CPU})
    complaints: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="goldherd-hung-", dir=options.folder) as folder,
        herd_of(options.nodes, options.sick, options.golden_mib * MIB, Path(folder)) as herd,
    ):
        print(f"{options.sick} of {options.nodes} disks hang; {options.rounds} rounds of {options.seconds} s")
        print(HEADING)
        for kind in ("write", "read"):
            pairs = run_rounds(herd, options.rounds, options.seconds, kind == "write")
            verdict = Verdict(f"4K {kind} {len(herd.loading)}x{DEPTH}", pairs)
            print(verdict, flush=True)
            complaints += verdict.complaints
        reads = reads_of_one(herd, options.rounds, options.seconds)
    for state, took in reads.items():
        print(f"a node's 4K reads while the disk of another {state}: 99th percentile {took:.2f} ms in the worst round")
        if took >= READ_MS_WANTED:
            complaints.append(f"a node's reads took {took:.0f} ms while the disk of another {state}")
    for complaint in complaints:
        print(f"not as promised: {complaint}")
    return int(options.check and bool(complaints))


if __name__ == "__main__":
    sys.exit(apart(main, sys.argv[1:]))
