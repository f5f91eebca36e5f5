"""The loads, the targets that bear them, and what one window of one load on one target tells."""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from bench.accounting import cpu_seconds
from bench.initiator import Session, log_in
from tests.support.targets import Export, GoldherdExport, TgtExport

if TYPE_CHECKING:
    from bench.loadgen import Result  # compiled when a measurement begins

TARGET_CPU = 0
WARM_BLOCK_BYTES = 1 << 20


class Case(NamedTuple):
    """One kind of load."""

    name: str
    block_bytes: int
    depth: int
    sessions: int
    write: bool = False
    sequential: bool = False
    wanted: float | None = None
    """The least ratio of CPU per command, tgtd's to goldherd's, that this project promises."""


CASES = (
    Case("4K read 1x1", 4096, 1, 1, wanted=1.2),
    Case("4K read 1x32", 4096, 32, 1, wanted=8),
    Case("4K read 16x8", 4096, 8, 16, wanted=8),
    Case("4K read 256x4", 4096, 4, 256, wanted=7),
    Case("64K read 8x8", 65536, 8, 8, sequential=True, wanted=2.2),
    Case("256K read 4x4", 262144, 4, 4, wanted=1.6),
    Case("4K write 16x8", 4096, 8, 16, write=True, wanted=4),
)
LOGINS = Case("login", 0, 1, 1)


@dataclass(frozen=True)
class Window:
    """What one target did in one window."""

    rate: float
    """Commands (or logins) per second."""
    cpu_us: float
    """CPU of the target per command, microseconds."""
    p50_us: float


def overlay(disks: list[Path], folder: Path, *, cpu: int) -> Export:
    """The disk, which another target may serve, as a sealed dynamic VHD below a new differencing child."""
    golden = folder / "golden.vhd"
    source = f"driver=raw,file.driver=file,file.locking=off,file.filename={disks[0]}"
    options = ("-O", "vpc", "-o", "subformat=dynamic,force_size=on")
    subprocess.run(["qemu-img", "convert", "--image-opts", source, *options, golden], check=True)
    return GoldherdExport([golden], folder, options=["--overlay", str(folder / "child.vhd")], cpu=cpu)


def before(disks: list[Path], folder: Path, *, cpu: int) -> Export:
    """Another goldherd, of the interpreter that GOLDHERD_BEFORE names: what did a change cost?"""
    python = os.environ.get("GOLDHERD_BEFORE")
    if not python or not Path(python).exists():
        raise SystemExit("Set GOLDHERD_BEFORE to the Python of the other installation, e.g. ../old/.venv/bin/python.")
    return GoldherdExport(disks, folder, cpu=cpu, python=python)


SERVERS: dict[str, Callable[..., Export]] = {
    "tgtd": TgtExport,
    "goldherd": GoldherdExport,
    "overlay": overlay,
    "before": before,
}


def is_disk(name: str) -> bool:
    """Whether a contender is goldherd on a disk that the user named, by its format: FORMAT:LOCATION."""
    return ":" in name


class Contender:
    """One running target with the sessions of the case at hand.

    Args:
        name: one of SERVERS, or a disk as `goldherd export` takes it.
        image: what a server of SERVERS serves; it holds the pattern.
        folder: for logs and data; made here.
        fill: write the pattern to the disk first, through the target.
    """

    def __init__(self, name: str, image: Path, folder: Path, *, fill: bool = False) -> None:
        folder.mkdir()
        if is_disk(name):
            self.export: Export = GoldherdExport([name], folder, cpu=TARGET_CPU)
        else:
            self.export = SERVERS[name]([image], folder, cpu=TARGET_CPU)
        self._sessions: list[Session] = []
        try:
            self.prepare(name, fill)
        except BaseException:
            self.export.stop()
            raise

    def prepare(self, name: str, fill: bool) -> None:
        """Sees to it that the disk holds the pattern and is warm; LoadError when it holds something else."""
        from bench.loadgen import LoadError

        if fill:
            self.cover(write=True)
        try:
            self.cover()
        except LoadError as error:
            if fill or not is_disk(name):
                raise
            advice = "overwrite it by --fill, or make it from a disk of bench.pattern"
            raise LoadError(f"{name} does not hold the pattern: {error}; {advice}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.export.stop()

    def log_in(self) -> Session:
        """One more session on the disk."""
        portal, lun = self.export.portal, int(self.export.url().rpartition("/")[2])
        return log_in(portal.host, portal.port, self.export.iqn, lun)

    def cover(self, *, write: bool = False) -> None:
        """Writes the pattern everywhere, or reads and compares every byte: what is measured is right, and warm."""
        from bench.loadgen import Load

        session = self.log_in()
        load = Load([session])
        count = session.size_bytes // WARM_BLOCK_BYTES
        load.run(
            block_bytes=WARM_BLOCK_BYTES, depth=4, count_max=count, sequential=True, check_all=not write, write=write
        )
        load.close()
        session.log_out()

    def connect(self, count: int) -> None:
        """Opens the sessions of a case, which stay for all its rounds."""
        self._sessions = [self.log_in() for _ in range(count)]

    def disconnect(self) -> None:
        """Logs all of them out."""
        for session in self._sessions:
            session.log_out()

    def window(self, case: Case, seconds: float) -> Window:
        """Loads the target for that long, after a tenth of it to warm up."""
        self.run(case, seconds=seconds / 10)
        before = cpu_seconds(self.export.pid)
        result = self.run(case, seconds=seconds)
        spent = cpu_seconds(self.export.pid) - before
        return Window(result.commands / result.seconds, spent / result.commands * 1e6, result.p50_us)

    def run(self, case: Case, *, seconds: float = 0, count_max: int = 0) -> "Result":
        """The case's load until the time is over or every session did its commands."""
        from bench.loadgen import Load

        load = Load(self._sessions)
        result = load.run(
            block_bytes=case.block_bytes,
            depth=case.depth,
            write=case.write,
            sequential=case.sequential,
            seconds=seconds,
            count_max=count_max,
        )
        load.close()
        return result

    def logins(self, count: int) -> Window:
        """Logins one after another, each with TEST UNIT READY, READ CAPACITY and a logout."""
        before, start = cpu_seconds(self.export.pid), time.monotonic()
        for _ in range(count):
            self.log_in().log_out()
        lasted = time.monotonic() - start
        spent = cpu_seconds(self.export.pid) - before
        return Window(count / lasted, spent / count * 1e6, lasted / count * 1e6)
