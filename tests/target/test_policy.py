"""What a boot does to the disk of a node: nothing with policy keep, all with policy reset."""

import pytest

from bench.pattern import words
from tests.target.daemon import Herd
from tests.target.initiator import loader_isid

PATTERN = b"\xa5" * 512
OTHER_ISID = bytes.fromhex("00023d000002")


@pytest.fixture
def fresh(herd: Herd) -> Herd:
    """With a node `kiosk` that gets a new disk at each boot."""
    herd.do("node", "add", "kiosk", "--image", "lab", "--policy", "reset")
    return herd


def test_loader_of_a_reset_node_finds_a_fresh_disk(fresh: Herd) -> None:
    with fresh.serve() as daemon:
        with daemon.log_in("kiosk") as system:
            assert system.write(8, PATTERN).status == 0
            system.log_out()
        with daemon.log_in("kiosk", isid=loader_isid(1)) as loader:
            assert loader.read(8, 1) == words(4096, 512)


def test_loader_of_a_reset_node_ends_the_sessions_of_the_boot_before(fresh: Herd) -> None:
    with fresh.serve() as daemon, daemon.log_in("kiosk") as lost, daemon.log_in("kiosk", isid=OTHER_ISID) as other:
        assert lost.write(8, PATTERN).status == 0
        with daemon.log_in("kiosk", isid=loader_isid(1)) as loader:
            assert lost.ended() and other.ended()
            assert loader.read(8, 1) == words(4096, 512)


def test_operating_system_of_a_reset_node_finds_what_it_wrote(fresh: Herd) -> None:
    with fresh.serve() as daemon, daemon.log_in("kiosk", isid=loader_isid(1)) as loader:
        assert loader.write(8, PATTERN).status == 0
        with daemon.log_in("kiosk") as system:
            assert system.read(8, 1) == PATTERN
            assert system.write(9, PATTERN).status == 0
        with daemon.log_in("kiosk") as system:  # the network failed; the session is opened again
            assert system.read(8, 2) == PATTERN * 2


def test_reconnect_of_a_reset_node_survives_a_restart_of_the_daemon(fresh: Herd) -> None:
    with fresh.serve() as daemon, daemon.log_in("kiosk") as system:
        assert system.write(8, PATTERN).status == 0
        assert system.flush().status == 0
        daemon.stop()
    with fresh.serve() as daemon, daemon.log_in("kiosk") as system:
        assert system.read(8, 1) == PATTERN


def test_loader_of_a_keep_node_finds_what_was_written(herd: Herd) -> None:
    with herd.serve() as daemon:
        with daemon.log_in("pc-001") as system:
            assert system.write(8, PATTERN).status == 0
        with daemon.log_in("pc-001", isid=loader_isid(1)) as loader:
            assert loader.read(8, 1) == PATTERN


def test_loader_of_another_boot_gets_the_version_activated_meanwhile(herd: Herd, tmp_path_factory: object) -> None:
    newer = herd.data.parent / "newer.raw"
    newer.write_bytes(b"\x77" * (16 << 20))
    with herd.serve() as daemon, daemon.log_in("pc-001") as lost:
        herd.do("image", "import", newer, "--name", "lab")
        herd.do("image", "activate", "lab@2")
        with daemon.log_in("pc-001", isid=loader_isid(1)) as loader:
            assert lost.ended(), "its machine was reset without a farewell"
            assert loader.read(0, 1) == b"\x77" * 512
