"""A daemon that is killed -9 right after an answer has what it answered when it comes back."""

import random
import struct
from pathlib import Path

import pytest
from goldherd_plugins.vhd.create import create_dynamic

from bench.pattern import write_pattern
from tests.target.daemon import Herd, refused, running

DISK_BYTES = 64 << 20
SECTORS = 8
"""4 KiB."""


@pytest.fixture
def herd(tmp_path: Path) -> Herd:
    source = write_pattern(tmp_path / "golden.raw", DISK_BYTES)
    herd = Herd(tmp_path / "data")
    herd.do("image", "import", source, "--name", "lab")
    herd.do("node", "add", "pc-1", "--image", "lab")
    return herd


def content(place: int) -> bytes:
    return struct.pack(">Q", place) * (SECTORS * 64)


def test_writes_to_fresh_blocks_of_a_nodes_disk(herd: Herd) -> None:
    choose = random.Random(1)
    places = choose.sample(range(DISK_BYTES // 4096), 60)
    for number in range(3):
        mine = places[20 * number : 20 * (number + 1)]
        with herd.serve() as daemon, daemon.log_in("pc-1") as session:
            for place in mine:
                session.write(place * SECTORS, content(place))
            daemon.kill()
    with herd.serve() as daemon, daemon.log_in("pc-1") as session:
        golden = (herd.data.parent / "golden.raw").read_bytes()
        for place in range(DISK_BYTES // 4096):
            expected = content(place) if place in places else golden[place * 4096 : (place + 1) * 4096]
            assert session.read(place * SECTORS, SECTORS) == expected, place


def test_the_file_of_a_killed_export(herd: Herd, tmp_path: Path) -> None:
    """Its bytes are not the whole disk until it was opened once more."""
    disk = tmp_path / "disk.vhd"
    create_dynamic(disk, DISK_BYTES)
    words = ("--data", tmp_path / "none", "export", f"vhd:{disk}")
    with running(tmp_path / "log", *words) as daemon, daemon.log_in("export") as session:
        session.write(4096, content(1))
        daemon.kill()
    with running(tmp_path / "log", *words[:-1], f"vhd:{disk},read-only") as daemon, daemon.log_in("export") as session:
        assert session.read(4096, SECTORS) == content(1)
    assert "was killed" in refused(herd.run("image", "import", disk, "--name", "copied"))
    with running(tmp_path / "log", *words):
        pass
    herd.do("image", "import", disk, "--name", "copied")
    herd.do("node", "add", "pc-2", "--image", "copied")
    with herd.serve() as daemon, daemon.log_in("pc-2") as session:
        assert session.read(4096, SECTORS) == content(1)
