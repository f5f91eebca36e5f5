"""Commands of an administrator while machines run: no disk is taken from one that has it open."""

from pathlib import Path

from tests.target.daemon import Herd

PATTERN = b"\xa5" * 512


def another_version(herd: Herd, tmp_path: Path) -> None:
    """Makes lab@2 active and retires lab@1, on which pc-001 runs."""
    disk = tmp_path / "second.raw"
    disk.write_bytes(bytes(1 << 20))
    herd.do("image", "import", disk, "--name", "lab")
    herd.do("image", "activate", "lab@2")
    herd.do("image", "retire", "lab@1")


def test_version_under_a_running_machine_is_not_removed(herd: Herd, tmp_path: Path) -> None:
    with herd.serve() as daemon:
        with daemon.log_in("pc-001") as system:
            assert system.write(8, PATTERN).status == 0
            another_version(herd, tmp_path)
            refused = herd.run("image", "remove", "lab@1", "--yes")
            assert (refused.returncode, "the disk of pc-001 is in use" in refused.stderr) == (1, True)
            assert system.write(9, PATTERN).status == 0
            assert system.flush().status == 0
            system.log_out()
        assert herd.golden.exists()
    herd.do("image", "activate", "lab@1")
    with herd.serve() as daemon, daemon.log_in("pc-001") as system:
        assert system.read(8, 2) == PATTERN * 2


def test_version_is_removed_once_its_last_machine_has_gone(herd: Herd, tmp_path: Path) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as system:
        assert system.write(8, PATTERN).status == 0
        another_version(herd, tmp_path)
    assert herd.do("image", "remove", "lab@1", "--yes").startswith("lab@1 removed")
    assert [path.name for path in (herd.data / "images").glob("*.vhd")] == ["lab@2.vhd"]
    assert not list((herd.data / "overlays").glob("*.lab@1.vhd"))
