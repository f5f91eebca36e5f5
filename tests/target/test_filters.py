"""Filters that belong to a version: its nodes' disks have them, others have none."""

from pathlib import Path

from bench.pattern import words
from tests.target.daemon import Herd


def test_filter_of_a_version_lies_over_its_nodes_disks_only(herd: Herd, raw: Path) -> None:
    herd.do("image", "import", raw, "--name", "lab", "--filter", "error:on=read,first=8,last=15")
    herd.do("node", "add", "pc-005", "--image", "lab@2")
    assert "error:on=read,first=8,last=15" in herd.do("image", "show", "lab@2")
    with herd.serve() as daemon:
        with daemon.log_in("pc-005") as session:
            assert session.read(0, 8) == words(0, 4096)
            assert session.command(bytes.fromhex("28 00 00000008 00 0001 00"), read=512).key == (3, 0x11, 0)
        with daemon.log_in("pc-001") as session:
            assert session.read(8, 8) == words(4096, 4096)
