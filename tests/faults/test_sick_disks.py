"""A disk that fails or hangs under a running daemon: every command is answered, and other disks go on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.pattern import write_pattern
from tests.faults.filesystem import FaultFs
from tests.target.daemon import Daemon, running
from tests.target.initiator import Session

DATA = b"\x5a" * 4096


@pytest.fixture
def served(filesystem: FaultFs, tmp_path: Path) -> Iterator[tuple[FaultFs, Session]]:
    """An exported disk, with it the place of the daemon's data folder, and a session."""
    disk = write_pattern(filesystem.path / "disk", 1 << 20)
    # Nothing of a folder that is not there is in the kernel's memory, so the file system is asked each time.
    words = ("--data", filesystem.path / "absent", "export", f"sparse:{disk}")
    with running(tmp_path / "log", *words) as daemon, _session(daemon) as session:
        yield filesystem, session


def _session(daemon: Daemon) -> Session:
    return daemon.log_in("export")


def test_commands_are_answered_when_the_data_folder_fails_with_its_log(served: tuple[FaultFs, Session]) -> None:
    filesystem, session = served
    assert session.write(0, DATA).status == 0
    filesystem.cut(1)
    assert session.flush().status == 2
    assert session.write(8, DATA, fua=True).status == 2
    assert session.inquire()


def test_the_log_goes_on_on_stderr_when_its_folder_fails(served: tuple[FaultFs, Session], tmp_path: Path) -> None:
    filesystem, session = served
    filesystem.tell("rule log fail op=* path=/absent*")
    filesystem.tell("rule disk fail op=fsync path=/disk")
    assert session.write(0, DATA).status == 0
    assert session.flush().status == 2
    assert "EIO" in (tmp_path / "log").read_text()
