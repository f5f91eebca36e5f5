"""Disks that fail or are not what they were: who uses them is told, and nobody else notices."""

import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.pattern import words
from tests.target.daemon import Daemon, Herd
from tests.target.initiator import LoginRefusedError, Session

SERVICE_UNAVAILABLE = 0x0301
SPACE = 5 << 20
"""Room for two blocks of a differencing VHD, and not for three."""
CHUNK = 256 << 10


def change_golden(herd: Herd) -> None:
    herd.golden.chmod(0o644)
    with herd.golden.open("r+b") as file:
        file.seek(600)
        file.write(b"changed")


def remove_golden(herd: Herd) -> None:
    herd.golden.unlink()


def truncate_overlay(herd: Herd) -> None:
    overlay = herd.overlay("pc-001")
    overlay.write_bytes(overlay.read_bytes()[:700])


def scramble_overlay(herd: Herd) -> None:
    overlay = herd.overlay("pc-001")
    overlay.write_bytes(b"\xff" * overlay.stat().st_size)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (change_golden, "was changed after it was sealed"),
        (remove_golden, "lab@1 can't be used"),
        (truncate_overlay, ".vhd"),
        (scramble_overlay, ".vhd"),
    ],
)
def test_disk_that_is_not_what_it_was_is_unavailable(herd: Herd, harm: object, said: str) -> None:
    herd.do("node", "add", "other", "--image", "lab")
    assert callable(harm)
    harm(herd)
    with herd.serve() as daemon:
        for _ in range(2):  # nothing half-open is left by the first
            with pytest.raises(LoginRefusedError) as refusal:
                daemon.log_in("pc-001")
            assert refusal.value.status == SERVICE_UNAVAILABLE
        (line, *_) = [line for line in daemon.log.splitlines() if "can't be served" in line]
        assert said in line and "Traceback" not in daemon.log
        if harm in (truncate_overlay, scramble_overlay):
            with daemon.log_in("pc-002") as session:
                assert session.read(0, 8) == words(0, 4096)
        assert daemon.stop() == 0


def test_golden_changed_while_nodes_run_takes_no_new_logins(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as session:
        change_golden(herd)
        with pytest.raises(LoginRefusedError) as refusal:
            daemon.log_in("pc-002")
        assert refusal.value.status == SERVICE_UNAVAILABLE
        session.inquire()


@pytest.fixture
def room(herd: Herd) -> Iterator[bool]:
    """The overlays lie on a file system with little room; False when this user may not mount one."""
    folder, aside = herd.data / "overlays", herd.data / "aside"
    folder.rename(aside)
    folder.mkdir()
    mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SPACE}", "tmpfs", folder], capture_output=True, check=False
    ).returncode
    for file in aside.iterdir():
        shutil.copy2(file, folder)
    yield mounted
    if mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def small(herd: Herd, room: bool) -> Iterator[Daemon]:
    """A daemon whose disk is nearly full; who may not mount one has files that may not grow."""
    with herd.serve("--full-disk-hold", 0) as daemon:
        if not room:
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (SPACE, resource.RLIM_INFINITY))
        yield daemon


def fill(session: Session) -> int:
    """Writes one chunk after the other until one fails; how many went well."""
    for number in range(SPACE // CHUNK * 2):
        answer = session.write(number * CHUNK // 512, b"\xa5" * CHUNK)
        if answer.status == 0:
            answer = session.flush()
        if answer.status:
            assert answer.key == (0x07, 0x27, 0x07), "DATA PROTECT, SPACE ALLOCATION FAILED WRITE PROTECT"
            return number
    raise AssertionError("the disk never got full")


def check(session: Session, count: int) -> None:
    for number in range(1, count):
        assert session.read(number * CHUNK // 512, CHUNK // 512) == b"\xa5" * CHUNK


def test_full_disk_fails_writes_and_keeps_what_was_written(small: Daemon, herd: Herd) -> None:
    with small.log_in("pc-001") as session:
        count = fill(session)
        assert count > 1
        check(session, count)
        assert session.write(0, b"\x5a" * 512).status == 0, "what has its place can still be overwritten"
        assert session.flush().status == 0
        with small.log_in("pc-002") as other:
            assert other.read(0, 8) == words(0, 4096)
    assert small.stop() == 0
    with herd.serve() as daemon, daemon.log_in("pc-001") as session:
        assert session.read(0, 1) == b"\x5a" * 512
        check(session, count)


def test_missing_folder_of_overlays_is_one_sentence_in_the_log(herd: Herd, tmp_path: Path) -> None:
    with herd.serve() as daemon:
        (herd.data / "overlays").rename(tmp_path / "elsewhere")
        with pytest.raises(LoginRefusedError) as refusal:
            daemon.log_in("pc-001")
        assert refusal.value.status == SERVICE_UNAVAILABLE
        (tmp_path / "elsewhere").rename(herd.data / "overlays")
        daemon.log_in("pc-001").socket.close()
        assert "Traceback" not in daemon.log
