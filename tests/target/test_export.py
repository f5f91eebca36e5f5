"""`goldherd export` as a user starts it: several disks, an overlay, several addresses."""

import shutil
from pathlib import Path

import pytest

from bench.pattern import words
from tests.interop.conftest import run_tool
from tests.support.targets import PREFIX
from tests.target.daemon import running
from tests.target.initiator import log_in

PATTERN = b"\xa5" * 4096


@pytest.fixture
def golden(raw: Path, tmp_path: Path) -> Path:
    """A dynamic VHD."""
    vhd = tmp_path / "golden.vhd"
    run_tool("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=dynamic,force_size=on", raw, vhd)
    return vhd


def test_overlay_takes_the_writes_and_keeps_them(golden: Path, tmp_path: Path) -> None:
    child, before = tmp_path / "child.vhd", golden.read_bytes()
    command = ("--data", tmp_path / "data", "export", golden, "--overlay", child)
    with running(tmp_path / "log", *command) as daemon, daemon.log_in("export") as session:
        assert session.write(8, PATTERN).status == 0
        session.log_out()
        assert daemon.stop() == 0
    with running(tmp_path / "log", *command) as daemon, daemon.log_in("export") as session:
        assert session.read(8, 8) == PATTERN
        assert session.read(0, 8) == words(0, 4096)
    assert golden.read_bytes() == before


def test_each_file_is_the_next_lun_with_its_own_options(raw: Path, golden: Path, tmp_path: Path) -> None:
    disk = Path(shutil.copy(raw, tmp_path / "disk.raw"))
    disk.chmod(0o644)
    name = "iqn.2020-01.com.example:disks"
    disks = (f"{golden},read-only", f"{disk},block-size=4096")
    command = ("--data", tmp_path / "data", "export", *disks, "--target", name)
    with running(tmp_path / "log", *command) as daemon, daemon.log_in(name) as session:
        assert session.write(0, bytes(512)).key == (7, 0x27, 0), "DATA PROTECT, WRITE PROTECTED"
        while session.command(bytes(6), lun=1).key[0] == 6:
            pass
        capacity = session.command(b"\x25", read=8, lun=1)
        assert capacity.data == (raw.stat().st_size // 4096 - 1).to_bytes(4) + (4096).to_bytes(4)
        assert session.command(bytes(6), lun=2).key == (5, 0x25, 0)
        listing = run_tool("iscsi-ls", "--show-luns", "iscsi://{}:{}".format(*daemon.portal))
        assert listing.count("Lun:") == 2 and name in listing


def test_every_address_gets_a_ready_line_and_discovery_names_the_one_that_was_used(raw: Path, tmp_path: Path) -> None:
    more = ("--listen", "[::1]:0", "--listen", "127.0.0.2:0")
    command = ("--data", tmp_path / "data", "export", f"{raw},read-only", *more)
    with running(tmp_path / "log", *command) as daemon:
        ready = [daemon.portal, *(daemon.process.read_line("ready") for _ in range(2))]
        places = [line.split("/")[2] for line in ready if isinstance(line, str)]
        places.append("{}:{}".format(*daemon.portal))
        for place in places:
            host, _, port = place.rpartition(":")
            with log_in((host.strip("[]"), int(port)), None, "iqn.2020-01.com.example:me") as session:
                shown = session.text("SendTargets=All\0")
            assert shown[:2] == [("TargetName", f"{PREFIX}:export"), ("TargetAddress", f"{place},1")]
            assert sorted(value for _, value in shown[1:]) == sorted(f"{other},1" for other in places)
