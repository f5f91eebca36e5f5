"""The three commands of the README, as a whole: import, add nodes, serve; every node writes to its own disk."""

import hashlib
from pathlib import Path

import pytest

from bench.pattern import words
from tests.interop.conftest import run_tool
from tests.support.targets import PREFIX
from tests.target.conftest import GOLDEN_BYTES
from tests.target.daemon import Daemon, Herd
from tests.target.initiator import LoginRefusedError


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(params=["raw", "vhd"])
def golden(request: pytest.FixtureRequest, raw: Path, tmp_path: Path) -> Path:
    """What somebody brings: a raw disk, or a dynamic VHD made by QEMU."""
    if request.param == "raw":
        return raw
    vhd = tmp_path / "golden.vhd"
    run_tool("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=dynamic,force_size=on", raw, vhd)
    return vhd


def write_as(daemon: Daemon, node: str, byte: int) -> None:
    with daemon.log_in(node) as session:
        assert session.read(0, 64) == words(0, 64 * 512)
        assert session.write(8, bytes([byte]) * 4096).status == 0
        assert session.write(9000, bytes([byte]) * 512).status == 0
        session.log_out()


def read_as(daemon: Daemon, node: str) -> bytes:
    with daemon.log_in(node) as session:
        return b"".join(session.read(lba, 512) for lba in range(0, GOLDEN_BYTES // 512, 512))


def written(byte: int) -> bytes:
    disk = bytearray(words(0, GOLDEN_BYTES))
    disk[4096:8192] = bytes([byte]) * 4096
    disk[9000 * 512 : 9001 * 512] = bytes([byte]) * 512
    return bytes(disk)


def test_import_add_serve_write_and_serve_again(golden: Path, tmp_path: Path) -> None:
    herd = Herd(tmp_path / "data")
    herd.do("image", "import", golden, "--name", "lab")
    herd.do("node", "add", "pc-[001-040]", "--image", "lab")
    before, sealed_before = sha256(golden), sha256(herd.golden)
    with herd.serve() as daemon:
        write_as(daemon, "pc-001", 0xA5)
        write_as(daemon, "pc-040", 0x5A)
        assert read_as(daemon, "pc-001") == written(0xA5)
        assert daemon.stop() == 0
    with herd.serve() as daemon:
        assert read_as(daemon, "pc-001") == written(0xA5)
        assert read_as(daemon, "pc-040") == written(0x5A)
        assert read_as(daemon, "pc-020") == words(0, GOLDEN_BYTES)
    assert (sha256(golden), sha256(herd.golden)) == (before, sealed_before)


def test_qemu_reads_and_writes_a_node_under_its_name(herd: Herd, tmp_path: Path) -> None:
    name = f"initiator-name={PREFIX}.node:pc-001"
    with herd.serve() as daemon:
        place = f"portal={daemon.portal[0]}:{daemon.portal[1]},target={PREFIX}:pc-001,lun=0,{name}"
        disk = f"driver=raw,file.driver=iscsi,file.transport=tcp,file.{place.replace(',', ',file.')}"
        script = ("write -P 0xa5 1M 64k", "flush", "read -P 0xa5 1M 64k")
        told = run_tool("qemu-io", *(word for line in script for word in ("-c", line)), "--image-opts", disk)
        assert "verification failed" not in told
        with daemon.log_in("pc-001") as session:
            assert session.read(2048, 128) == b"\xa5" * 65536
        with daemon.log_in("pc-002") as session:
            assert session.read(2048, 128) == words(1 << 20, 65536)


def test_nodes_added_while_it_runs_are_served(herd: Herd) -> None:
    with herd.serve() as daemon:
        herd.do("node", "add", "pc-[005-006]", "--image", "lab")
        with daemon.log_in("pc-006") as session:
            assert session.read(0, 8) == words(0, 4096)


def test_next_boot_gets_the_version_that_was_activated_meanwhile(herd: Herd, tmp_path: Path) -> None:
    newer = tmp_path / "newer.raw"
    newer.write_bytes(b"\x77" * GOLDEN_BYTES)
    with herd.serve() as daemon:
        with daemon.log_in("pc-001") as session:
            assert session.write(8, b"\xa5" * 512).status == 0
            herd.do("image", "import", newer, "--name", "lab")
            herd.do("image", "activate", "lab@2")
            assert session.read(8, 1) == b"\xa5" * 512, "a running node keeps its disk"
            assert session.read(0, 1) == words(0, 512)
            with daemon.log_in("pc-001", isid=b"\0\x02\x3d\0\0\x02") as second:
                assert second.read(8, 1) == b"\xa5" * 512, "one machine sees one disk"
                second.log_out()
            session.log_out()
        with daemon.log_in("pc-001") as session:
            assert session.read(0, 1) == session.read(8, 1) == b"\x77" * 512
            session.log_out()
        herd.do("image", "activate", "lab@1")
        with daemon.log_in("pc-001") as session:
            assert session.read(8, 1) == b"\xa5" * 512, "going back brings the old disk back"


def test_removed_node_is_gone_and_one_in_use_is_not_removed(herd: Herd) -> None:
    with herd.serve() as daemon:
        with daemon.log_in("pc-001") as session:
            ended = herd.run("node", "remove", "pc-001", "--yes")
            assert ended.returncode == 1 and "in use" in ended.stderr
            assert session.read(0, 1) == words(0, 512)
        herd.do("node", "remove", "pc-002", "--yes")
        with pytest.raises(LoginRefusedError, match="0x0203"):
            daemon.log_in("pc-002")
