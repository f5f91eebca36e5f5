"""A disk or a volume that was there before and is gone is an error: no node gets an empty disk in its place."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.pattern import words
from tests.target.daemon import Daemon, Herd, refused
from tests.target.initiator import LoginRefusedError, loader_isid

PATTERN = b"\xa5" * 512


def test_disk_that_is_gone_refuses_the_login_until_it_is_back(herd: Herd, tmp_path: Path) -> None:
    with herd.serve() as daemon:
        with daemon.log_in("pc-001") as session:
            assert session.write(8, PATTERN).status == 0
            assert session.flush().status == 0
        daemon.stop()
    kept = herd.overlay("pc-001").rename(tmp_path / "kept.vhd")
    with herd.serve() as daemon:
        refuses(daemon, "pc-001")
        assert "was there before" in daemon.log and str(kept.name) not in daemon.log
        with daemon.log_in("pc-002"):
            pass
        kept.rename(herd.data / "overlays" / "pc-001.lab@1.vhd")
        with daemon.log_in("pc-001") as session:
            assert session.read(8, 1) == PATTERN


def test_reset_gives_a_node_a_fresh_disk_for_the_one_that_is_gone(herd: Herd) -> None:
    herd.overlay("pc-001").unlink()
    with herd.serve() as daemon:
        refuses(daemon, "pc-001")
        herd.do("node", "reset", "pc-001", "--yes")
        with daemon.log_in("pc-001") as session:
            assert session.read(8, 1) == words(4096, 512)


def test_node_whose_disk_is_new_at_each_boot_misses_none(herd: Herd) -> None:
    herd.do("node", "set", "pc-001", "--policy", "reset")
    herd.overlay("pc-001").unlink()
    with herd.serve() as daemon, daemon.log_in("pc-001", isid=loader_isid(1)) as session:
        assert session.read(8, 1) == words(4096, 512)


def test_disk_that_a_login_made_is_missed_too(herd: Herd, raw: Path) -> None:
    herd.do("image", "import", raw, "--name", "lab")
    herd.do("image", "activate", "lab@2")
    made = herd.data / "overlays" / "pc-001.lab@2.vhd"
    with herd.serve() as daemon:
        with daemon.log_in("pc-001"):
            pass
        assert made.exists()
        daemon.stop()
    made.unlink()
    with herd.serve() as daemon:
        refuses(daemon, "pc-001")
        assert not made.exists()


def test_going_back_to_a_version_whose_disk_is_gone_is_refused(herd: Herd, raw: Path) -> None:
    herd.do("image", "import", raw, "--name", "lab")
    herd.do("node", "set", "pc-001", "--image", "lab@2")
    (herd.data / "overlays" / "pc-001.lab@1.vhd").unlink()
    sentence = refused(herd.run("node", "set", "pc-001", "--image", "lab@1"))
    assert "pc-001.lab@1.vhd" in sentence and "was there before" in sentence and "node reset" in sentence
    herd.do("node", "reset", "pc-001", "--yes")
    herd.do("node", "set", "pc-001", "--image", "lab@1")
    assert (herd.data / "overlays" / "pc-001.lab@1.vhd").exists()


@pytest.mark.parametrize("folder", ["images", "overlays"])
def test_folder_whose_file_system_is_not_mounted_is_refused(herd: Herd, raw: Path, folder: str) -> None:
    mounted = herd.data / folder
    away = mounted.rename(herd.data / f"{folder}.away")
    mounted.mkdir()
    for command in (("node", "add", "pc-9", "--image", "lab"), ("image", "import", raw, "--name", "other"), ("serve",)):
        sentence = refused(herd.run(*command))
        assert str(mounted) in sentence and "mount" in sentence, command
    assert list(mounted.iterdir()) == []
    mounted.rmdir()
    away.rename(mounted)
    with herd.serve() as daemon, daemon.log_in("pc-001"):
        pass


def test_folder_that_is_unmounted_under_a_running_daemon_gets_no_new_disks(herd: Herd, raw: Path) -> None:
    herd.do("image", "import", raw, "--name", "lab")
    with herd.serve() as daemon:
        herd.do("image", "activate", "lab@2")
        mounted = herd.data / "overlays"
        mounted.rename(herd.data / "away")
        mounted.mkdir()
        refuses(daemon, "pc-001")
        assert list(mounted.iterdir()) == []


def test_folder_that_was_restored_without_its_mark_is_marked_by_a_command(herd: Herd) -> None:
    (herd.data / "overlays" / ".goldherd-volume").unlink()
    assert "--mark-volumes" in refused(herd.run("node", "add", "pc-9", "--image", "lab"))
    assert str(herd.data / "overlays") in herd.do("doctor", "--mark-volumes")
    herd.do("node", "add", "pc-9", "--image", "lab")


def test_folder_of_another_installation_is_refused(herd: Herd, tmp_path: Path, raw: Path) -> None:
    other = Herd(tmp_path / "other")
    other.do("image", "import", raw, "--name", "lab")
    other.do("node", "add", "pc-001", "--image", "lab")
    (herd.data / "overlays").rename(herd.data / "mine")
    (other.data / "overlays").rename(herd.data / "overlays")
    assert "another installation" in refused(herd.run("serve"))


def test_file_of_an_open_disk_that_is_replaced_is_told_and_not_taken_for_the_disk(
    herd: Herd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLDHERD_FLUSH_SECONDS", "0.1")
    disk = herd.overlay("pc-001")
    with herd.serve() as daemon:
        with daemon.log_in("pc-001") as session, daemon.log_in("pc-002"):
            assert herd.status()["daemon"]["lost_disks"] == []
            kept = disk.rename(tmp_path / "kept.vhd")
            until(lambda: herd.status()["daemon"]["lost_disks"] == [str(disk)])
            assert daemon.log.count("was removed or replaced") == 1
            assert str(disk) in herd.do("status")
            assert session.write(8, PATTERN).status == 0
            session.log_out()
        refuses(daemon, "pc-001")
        kept.rename(disk)
        with daemon.log_in("pc-001") as session:
            assert session.read(8, 1) == PATTERN
            assert herd.status()["daemon"]["lost_disks"] == []


def until(what: Callable[[], bool]) -> None:
    """Waits for something that the daemon does by itself."""
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def refuses(daemon: Daemon, node: str) -> None:
    """The login is answered with a target error."""
    with pytest.raises(LoginRefusedError) as refusal:
        daemon.log_in(node)
    assert refusal.value.status >> 8 == 3
