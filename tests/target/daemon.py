"""goldherd as its users run it: commands as processes of their own, daemons that print `ready`."""

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.process import Process
from tests.support.targets import GOLDHERD, PREFIX
from tests.target.initiator import LINUX_ISID, Chap, Session, log_in

QUICK = {"GOLDHERD_SHUTDOWN_SECONDS": "0.5", "GOLDHERD_SHUTDOWN_FLUSH_SECONDS": "15"}
"""Clients of a test that don't log out are not waited for long; disks are, on a machine that is busy."""


@dataclass
class Daemon:
    """A running `serve` or `export`."""

    process: Process
    portal: tuple[str, int]

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self.process.stop()

    def kill(self) -> None:
        """SIGKILL: what it had not brought to the disk is lost, like its lock and its socket."""
        self.process.stop(signal.SIGKILL)

    def url(self, name: str, lun: int = 0) -> str:
        """What libiscsi and QEMU call a disk; `name` is a node or a whole IQN."""
        return f"iscsi://{self.portal[0]}:{self.portal[1]}/{_iqn(name)}/{lun}"

    def log_in(
        self,
        node: str,
        *,
        initiator: str | None = None,
        isid: bytes = LINUX_ISID,
        tsih: int = 0,
        cid: int = 0,
        joins: Session | None = None,
        chap: Chap | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> Session:
        """A session on a node's disk under the node's own name, ready for commands, or one more connection of it."""
        initiator = initiator or f"{PREFIX}.node:{node}"
        session = log_in(
            self.portal, _iqn(node), initiator, isid=isid, tsih=tsih, cid=cid, joins=joins, chap=chap, keys=keys
        )
        return session.make_ready() if joins is None else session

    def discover(self, initiator: str) -> list[str]:
        """The target names that SendTargets=All shows an initiator."""
        with log_in(self.portal, None, initiator) as session:
            return [value for key, value in session.text("SendTargets=All\0") if key == "TargetName"]

    @property
    def log(self) -> str:
        """All it wrote on standard error so far."""
        return self.process.log.read_text()


def _iqn(name: str) -> str:
    return name if name.startswith("iqn.") else f"{PREFIX}:{name}"


def goldherd(*words: object) -> subprocess.CompletedProcess[str]:
    """One command, run to its end."""
    return subprocess.run([*GOLDHERD, *map(str, words)], capture_output=True, text=True, timeout=60, check=False)


def refused(ended: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """The one sentence of a command that refused; AssertionError when it said more, less or something else."""
    assert ended.returncode == code, ended
    sentences = ended.stderr.splitlines()
    assert len(sentences) == 1, ended.stderr
    assert "Traceback" not in ended.stderr and ended.stdout == ""
    return sentences[0]


@contextmanager
def running(log: Path, *words: object, cpu: int | None = None) -> Iterator[Daemon]:
    """`goldherd WORDS... --listen 127.0.0.1:0` until the block ends."""
    process = Process([*GOLDHERD, *map(str, words), "--listen", "127.0.0.1:0"], log, cpu=cpu, environment=QUICK)
    try:
        place = process.read_line("ready ").removeprefix("ready ").removeprefix("iscsi://").split("/")[0]
        host, _, port = place.rpartition(":")
        yield Daemon(process, (host, int(port)))
    finally:
        process.stop()


@dataclass
class Herd:
    """A data folder with the sealed image lab@1 and nodes over it."""

    data: Path

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """One command on this data folder."""
        return goldherd("--data", self.data, *words)

    def do(self, *words: object) -> str:
        """One command that must succeed; what it printed."""
        ended = self.run(*words)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    @contextmanager
    def serve(self, *options: object) -> Iterator[Daemon]:
        """The daemon, until the block ends."""
        log = self.data.parent / "serve.log"
        with running(log, "--data", self.data, "serve", *options) as daemon:
            yield daemon

    def status(self) -> Any:
        """`goldherd status --json`."""
        return json.loads(self.do("status", "--json"))

    @property
    def golden(self) -> Path:
        """The sealed file of lab@1."""
        (path,) = (self.data / "images").glob("lab@1*")
        return path

    def overlay(self, node: str) -> Path:
        """A node's differencing child on lab@1."""
        (path,) = (self.data / "overlays").glob(f"{node}.*.vhd")
        return path
