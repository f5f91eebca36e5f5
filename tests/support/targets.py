"""iSCSI targets to test with, all behind one face: ours, and tgtd to prove a test by a second one.

A test says which disks it wants served; GOLDHERD_TEST_TARGET=tgt runs it against tgtd, so that a failure
against both is the test's and a failure against one is the target's.
"""

import abc
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from tests.support.process import Process, free_port, wait_for_port

PREFIX = "iqn.2026-11.io.goldherd"
GOLDHERD = (sys.executable, "-m", "goldherd.cli.main")
PATIENT = {"GOLDHERD_SHUTDOWN_FLUSH_SECONDS": "15"}
"""The settings of daemons beside tests that make the machine busy: disks get time to be flushed at the end."""


@dataclass(frozen=True)
class Portal:
    """Where a target listens."""

    host: str
    port: int

    def url(self, name: str, lun: int = 0) -> str:
        """The URL that libiscsi's and QEMU's initiators understand."""
        return f"iscsi://{self.host}:{self.port}/{name}/{lun}"


class Served:
    """A running target; ends with the `with` block."""

    process: Process | None = None
    portal: Portal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process whose CPU and memory are the target's."""
        assert self.process is not None, "not served yet"
        return self.process.pid

    def stop(self) -> int:
        """Ends it in good order; its exit status, 0 when it was not running."""
        process, self.process = self.process, None
        return process.stop() if process else 0


class Export(Served):
    """Disk files as the LUNs, from 0, of one target named `iqn` that anybody may log in to."""

    iqn = f"{PREFIX}:export"

    def url(self, lun: int = 0) -> str:
        """The URL of one LUN."""
        return self.portal.url(self.iqn, lun)


class Herd(Served, abc.ABC):
    """Nodes over one golden disk: each has a target of its own that only its own initiator name may use.

    Made, but not served before serve(); may be stopped and served again.
    """

    lun = 0

    @abc.abstractmethod
    def serve(self) -> None:
        """Starts the daemon; returns when it accepts logins. The portal may be another one each time."""

    def iqn(self, node: str) -> str:
        """The target name of a node."""
        return f"{PREFIX}:{node}"

    def initiator(self, node: str) -> str:
        """The name by which a node logs in."""
        return f"{PREFIX}.node:{node}"

    def url(self, node: str) -> str:
        """The URL of a node's disk."""
        return self.portal.url(self.iqn(node), self.lun)


class GoldherdExport(Export):
    """`goldherd export FILE...`"""

    def __init__(
        self,
        disks: Sequence[Path | str],
        folder: Path,
        *,
        options: Sequence[str] = (),
        cpu: int | None = None,
        python: str = sys.executable,
    ) -> None:
        where = ("--data", folder / "data", "export", *disks, "--listen", "127.0.0.1:0")
        command: list[str | Path] = [python, *GOLDHERD[1:], *where, *options]
        environment = PATIENT if python == sys.executable else None  # another version may not know it
        self.process = Process(command, folder / "goldherd.log", cpu=cpu, environment=environment)
        place = self.process.read_line("ready iscsi://").removeprefix("ready iscsi://").split("/")[0]
        host, _, port = place.rpartition(":")
        self.portal = Portal(host, int(port))


class GoldherdHerd(Herd):
    """`goldherd image import`, `goldherd node add`, `goldherd serve`: the three commands of the README."""

    def __init__(
        self, golden: Path, nodes: str, folder: Path, *, cpu: int | None = None, options: Sequence[str] = ()
    ) -> None:
        self.data = folder / "data"
        self._log, self._cpu = folder / "goldherd.log", cpu
        self._options = tuple(options)
        self.command("image", "import", golden, "--name", "lab")
        self.command("node", "add", nodes, "--image", "lab")

    def serve(self) -> None:
        """`goldherd serve` on a free port."""
        serve: list[str | Path] = [*GOLDHERD, "--data", self.data, "serve", "--listen", "127.0.0.1:0", *self._options]
        self.process = Process(serve, self._log, cpu=self._cpu, environment=PATIENT)
        host, _, port = self.process.read_line("ready ").removeprefix("ready ").rpartition(":")
        self.portal = Portal(host, int(port))

    def command(self, *words: str | Path) -> str:
        """Runs one goldherd command on this herd's data; RuntimeError with its sentence if it refuses."""
        done = subprocess.run([*GOLDHERD, "--data", self.data, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"goldherd {' '.join(map(str, words))} failed: {done.stderr}")
        return done.stdout


class Tgtd:
    """A private tgtd: own control socket and portal, nothing shared with one that may run on this machine."""

    def __init__(self, folder: Path, *, cpu: int | None = None) -> None:
        self.portal = Portal("127.0.0.1", free_port())
        self.control = str(self.portal.port % 32000)  # names the control socket; tgtd takes no more than a short
        portal = f"portal={self.portal.host}:{self.portal.port}"
        self.process = Process(["tgtd", "-f", "-C", self.control, "--iscsi", portal], folder / "tgtd.log", cpu=cpu)
        wait_for_port(self.portal.port, self.process)
        self._targets = 0

    def admin(self, *words: str) -> None:
        """One tgtadm command; repeated while the control socket is not there yet."""
        command = ["tgtadm", "-C", self.control, "--lld", "iscsi", *words]
        for _ in range(100):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            time.sleep(0.05)
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr}")

    def add_target(self, name: str, disks: Sequence[Path], initiator: str | None = None) -> None:
        """A target with these disks as LUN 1 and up (LUN 0 is tgtd's controller)."""
        self._targets += 1
        tid = str(self._targets)
        self.admin("--mode", "target", "--op", "new", "--tid", tid, "-T", name)
        for lun, disk in enumerate(disks, 1):
            self.admin("--mode", "logicalunit", "--op", "new", "--tid", tid, "--lun", str(lun), "-b", str(disk))
        allow = ("-Q", initiator) if initiator else ("-I", "ALL")
        self.admin("--mode", "target", "--op", "bind", "--tid", tid, *allow)


class ServedByTgtd(Served):
    """What tgtd does its own way: with targets configured it ignores SIGTERM, so it is killed."""

    def stop(self) -> int:
        """Ends it; 0, for its status says nothing."""
        process, self.process = self.process, None
        if process:
            process.stop(signal.SIGKILL)
        return 0


class TgtExport(ServedByTgtd, Export):
    """The same disks served by tgtd; raw files only."""

    def __init__(self, disks: Sequence[Path], folder: Path, *, cpu: int | None = None) -> None:
        tgtd = Tgtd(folder, cpu=cpu)
        self.process, self.portal = tgtd.process, tgtd.portal
        tgtd.add_target(self.iqn, disks)

    def url(self, lun: int = 0) -> str:
        """tgtd's disks begin at LUN 1."""
        return self.portal.url(self.iqn, lun + 1)


class TgtHerd(ServedByTgtd, Herd):
    """A copy of the whole disk per node, which is what one does without goldherd."""

    lun = 1

    def __init__(self, golden: Path, nodes: Sequence[str], folder: Path) -> None:
        self._folder = folder
        self._disks = {node: folder / f"{node}.raw" for node in nodes}
        for disk in self._disks.values():
            shutil.copy(golden, disk)
            disk.chmod(0o644)

    def serve(self) -> None:
        """A new tgtd over the same copies."""
        tgtd = Tgtd(self._folder)
        self.process, self.portal = tgtd.process, tgtd.portal
        for node, disk in self._disks.items():
            tgtd.add_target(self.iqn(node), [disk], self.initiator(node))


class ExportMaker(Protocol):
    """What serves raw disks for a test."""

    def __call__(self, disks: Sequence[Path], folder: Path, *, cpu: int | None = None) -> Export: ...


def chosen_export() -> ExportMaker:
    """The target that GOLDHERD_TEST_TARGET names: goldherd (default) or tgt."""
    makers: dict[str, ExportMaker] = {"goldherd": GoldherdExport, "tgt": TgtExport}
    return makers[os.environ.get("GOLDHERD_TEST_TARGET", "goldherd")]
