"""Everybody at once: N nodes read the whole golden disk in the same instant; every byte is checked.

    python -m bench.storm                       256 nodes, 64 MiB of golden disk each

Tells three things: that every byte was right, what an idle session costs in memory, and whether the golden
disk was read from storage once and held once. The golden file is dropped from the page cache first.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.accounting import read_from_disk_bytes, status_bytes
from bench.apart import apart
from bench.build import build
from bench.initiator import Session, log_in
from bench.pattern import write_pattern
from tests.support.targets import GoldherdHerd

KIB, MIB = 1 << 10, 1 << 20
BLOCK_BYTES = 64 * KIB
DEPTH = 4
IDLE_SESSION_BYTES_MAX = 64 * KIB
HELD_ONCE = 1.5
"""Most golden disks' worth of memory that may be in use: one, and the rest of a working server."""


@dataclass(frozen=True)
class Storm:
    """What was seen."""

    nodes: int
    golden_bytes: int
    read_bytes: int
    """By all nodes together."""
    checked_bytes: int
    seconds: float
    idle_session_bytes: float
    """Growth of the resident memory, per session that has logged in and asked for nothing yet."""
    grown_bytes: int
    """Resident memory after the storm less that before it."""
    from_disk_bytes: int

    @property
    def complaints(self) -> list[str]:
        """What is not as promised, in words."""
        found = []
        if self.read_bytes != self.nodes * self.golden_bytes:
            found.append(f"{self.read_bytes} bytes were read instead of {self.nodes * self.golden_bytes}")
        if self.checked_bytes < 0.99 * self.read_bytes:
            found.append(f"only {self.checked_bytes} of {self.read_bytes} bytes were checked")
        if self.idle_session_bytes >= IDLE_SESSION_BYTES_MAX:
            found.append(f"an idle session takes {self.idle_session_bytes / KIB:.1f} KiB")
        if self.grown_bytes > HELD_ONCE * self.golden_bytes + self.nodes * IDLE_SESSION_BYTES_MAX:
            found.append(f"memory grew by {self.grown_bytes / MIB:.1f} MiB, so the golden disk is not held once")
        if self.from_disk_bytes > HELD_ONCE * self.golden_bytes:
            found.append(f"{self.from_disk_bytes / MIB:.1f} MiB came from storage, so it was not read once")
        return found

    def __str__(self) -> str:
        read, speed = self.read_bytes / MIB, self.read_bytes / self.seconds / MIB
        return "\n".join(
            (
                f"{self.nodes} nodes read {read:.0f} MiB in {self.seconds:.1f} s: {speed:.0f} MiB/s",
                f"compared with the golden disk: {self.checked_bytes / MIB:.0f} MiB, all of it right",
                f"resident memory per idle session: {self.idle_session_bytes / KIB:.1f} KiB",
                f"resident memory grown by the storm: {self.grown_bytes / MIB:.1f} MiB"
                f" over a golden disk of {self.golden_bytes / MIB:.0f} MiB",
                f"read from storage: {self.from_disk_bytes / MIB:.1f} MiB",
            )
        )


def make_golden(folder: Path, size_bytes: int) -> Path:
    """A dynamic VHD whose words hold their offsets."""
    raw = write_pattern(folder / "golden.raw", size_bytes)
    vhd = folder / "golden.vhd"
    options = ("-f", "raw", "-O", "vpc", "-o", "subformat=dynamic,force_size=on")
    subprocess.run(["qemu-img", "convert", *options, raw, vhd], check=True)
    raw.unlink()
    return vhd


def forget(folder: Path) -> None:
    """Drops every file below the folder from the page cache, as after a restart of the machine."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fdatasync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def storm(folder: Path, nodes: int, golden_bytes: int) -> Storm:
    """Builds the herd in `folder`, lets the storm loose and reports."""
    from bench.loadgen import Load

    names = [f"pc-{number:03}" for number in range(1, nodes + 1)]
    golden = make_golden(folder, golden_bytes)
    with GoldherdHerd(golden, f"pc-[001-{nodes:03}]", folder) as herd:
        forget(folder)
        herd.serve()

        def log_in_as(node: str) -> Session:
            portal = herd.portal
            return log_in(portal.host, portal.port, herd.iqn(node), herd.lun, herd.initiator(node))

        # The first session also pays for what is made once: measure the growth from there.
        sessions = [log_in_as(names[0])]
        one = status_bytes(herd.pid, "VmRSS")
        sessions += [log_in_as(name) for name in names[1:]]
        idle = status_bytes(herd.pid, "VmRSS")
        from_disk = read_from_disk_bytes(herd.pid)
        load, start = Load(sessions), time.monotonic()
        result = load.run(
            block_bytes=BLOCK_BYTES,
            depth=DEPTH,
            count_max=golden_bytes // BLOCK_BYTES,
            sequential=True,
            check_all=True,
            start_bytes=[0] * nodes,
        )
        seconds = time.monotonic() - start
        load.close()
        seen = Storm(
            nodes,
            golden_bytes,
            result.commands * BLOCK_BYTES,
            result.bytes_checked,
            seconds,
            (idle - one) / max(1, nodes - 1),
            status_bytes(herd.pid, "VmRSS") - idle,
            read_from_disk_bytes(herd.pid) - from_disk,
        )
        for session in sessions:
            session.log_out()
    return seen


def main(words: list[str]) -> int:
    """Runs one storm; 1 when something is not as promised."""
    parser = argparse.ArgumentParser(prog="python -m bench.storm", description="Everybody boots at once.")
    parser.add_argument("--nodes", type=int, default=256)
    parser.add_argument("--golden-mib", type=int, default=64)
    options = parser.parse_args(words)
    build()
    with tempfile.TemporaryDirectory(prefix="goldherd-storm-") as folder:
        seen = storm(Path(folder), options.nodes, options.golden_mib * MIB)
    print(seen)
    for complaint in seen.complaints:
        print(f"not as promised: {complaint}")
    return int(bool(seen.complaints))


if __name__ == "__main__":
    sys.exit(apart(main, sys.argv[1:]))
