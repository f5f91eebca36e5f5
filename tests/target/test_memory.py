"""What the server holds in memory: the golden disk once, and little per session."""

import os
import subprocess
from pathlib import Path

from bench.accounting import status_bytes
from bench.pattern import words
from tests.target.conftest import GOLDEN_BYTES
from tests.target.daemon import Herd

KIB = 1 << 10


def page_cache_bytes(path: Path) -> int:
    """Bytes of a file in the kernel's page cache (fincore of util-linux: mincore(2))."""
    told = subprocess.run(["fincore", "-nbo", "RES", path], capture_output=True, text=True, check=True)
    return int(told.stdout)


def test_golden_disk_is_in_memory_once(herd: Herd) -> None:
    with herd.serve() as daemon:
        os.sync()  # dirty pages of the copy can't be dropped
        for node in ("pc-001", "pc-002", "pc-003"):
            with daemon.log_in(node) as session:
                for lba in range(0, GOLDEN_BYTES // 512, 512):
                    assert session.read(lba, 512) == words(lba * 512, 512 * 512)
        cache = herd.status()["daemon"]["cache"]
        kernel = page_cache_bytes(herd.golden)
        print(f"golden cache {cache['resident_bytes']} bytes, page cache of the file {kernel} bytes")
        assert cache["resident_bytes"] == GOLDEN_BYTES
        assert cache["resident_bytes"] + kernel < 1.5 * GOLDEN_BYTES


def test_idle_session_is_small(herd: Herd) -> None:
    herd.do("node", "add", "many", "--image", "lab", "--initiator", "any")
    with herd.serve() as daemon:
        kept, resident = [], []
        for number in range(1, 221):
            kept.append(daemon.log_in("many", isid=b"\x80" + number.to_bytes(5, "big")))
            resident.append(status_bytes(daemon.process.pid, "VmRSS"))
        grown = (resident[-1] - resident[19]) / 200  # what is made once is not the sessions' cost
        print(f"{grown / KIB:.1f} KiB of resident memory per idle session")
        assert grown < 64 * KIB
        assert all(session.inquire() for session in kept)
