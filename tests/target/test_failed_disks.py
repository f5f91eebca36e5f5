"""What a guest hears of a disk whose written data could not be brought to its file; the others hear nothing."""

import errno
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from goldherd.block.golden import GoldenCache
from goldherd.errors import ImageError
from goldherd.files.failed import Failure, find_mark
from goldherd.hooks import Hooks
from goldherd.model.targets import LunConfig
from goldherd.target.disks import Disks

from tests.support.faulty_calls import FaultyCalls
from tests.target.daemon import Daemon, Herd, refused, running
from tests.target.initiator import Session, log_in

GOOD = (0, 0, 0)
WRITE_ERROR = (0x3, 0x0C, 0x00)
WRITE_PROTECTED = (0x7, 0x27, 0x00)
DATA = bytes(range(256)) * 16
LOST = (
    "EIO",
    "ENOSPC",
    "EDQUOT",
    "ENODATA",
    "EREMOTEIO",
    "ETIMEDOUT",
    "ENOLINK",
    "ESTALE",
    "EROFS",
    "EUCLEAN",
    "ENOMEM",
)


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def check_refusals(session: Session) -> None:
    """Everything that a failed disk refuses, the same way each time; and that it is read."""
    for _ in range(2):
        assert session.flush().key == WRITE_ERROR
        assert session.write(0, DATA).key == WRITE_PROTECTED
        assert session.write(0, DATA, fua=True).key == WRITE_PROTECTED
        assert session.write(0, bytes(256 << 10)).key == WRITE_PROTECTED
    stop = session.command(bytes([0x1B, 0, 0, 0, 0, 0]))
    assert stop.key == WRITE_ERROR, "a unit that is stopped brings its cache to the medium first (SBC-3 5.25)"
    mode = session.command(bytes([0x1A, 0, 0x3F, 0, 0xFF, 0]), read=255)
    assert mode.data[2] & 0x80, "the mode parameter header says that the medium is write protected"


@pytest.mark.parametrize("name", LOST)
def test_an_error_of_a_flush_is_heard_by_its_guest_for_ever_and_by_no_other(
    herd: Herd, faults: FaultyCalls, name: str
) -> None:
    with herd.serve("--reactors", "1") as daemon, daemon.log_in("pc-001") as sick, daemon.log_in("pc-002") as well:
        assert sick.write(64, DATA).key == GOOD
        faults.arm("fdatasync", getattr(errno, name), herd.overlay("pc-001"))
        assert sick.flush().key == WRITE_ERROR
        check_refusals(sick)
        assert sick.read(64, 8) == DATA
        assert well.write(64, DATA).key == well.flush().key == well.write(0, DATA, fua=True).key == GOOD
        assert well.read(64, 8) == DATA
        (failed,) = herd.status()["daemon"]["failed_disks"]
        assert (failed["node"], failed["lun"]) == ("pc-001", 0)
        assert name in failed["reason"] and failed["path"] == str(herd.overlay("pc-001"))
        told = [line for line in daemon.log.splitlines() if "write protected until" in line]
        assert len(told) == 1 and "pc-001" in told[0] and name in told[0]


def test_an_error_of_a_forced_write_is_a_write_error(herd: Herd, faults: FaultyCalls) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as sick:
        faults.arm("fdatasync", errno.ENOSPC, herd.overlay("pc-001"))
        assert sick.write(64, DATA, fua=True).key == WRITE_ERROR
        check_refusals(sick)


def test_an_error_that_the_daemon_meets_by_itself_is_told_by_the_next_flush(
    herd: Herd, faults: FaultyCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLDHERD_FLUSH_SECONDS", "0.2")
    with herd.serve() as daemon, daemon.log_in("pc-001") as sick:
        faults.arm("fdatasync", errno.ENOSPC, herd.overlay("pc-001"))
        assert sick.write(64, DATA).key == GOOD
        wait_for(lambda: herd.status()["daemon"]["failed_disks"])
        check_refusals(sick)
        assert faults.hits == 1


def test_a_failed_disk_stays_failed_when_the_daemon_is_killed_or_restarted(herd: Herd, faults: FaultyCalls) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as sick:
        assert sick.write(64, DATA).key == GOOD
        faults.arm("fdatasync", errno.EIO, herd.overlay("pc-001"))
        assert sick.flush().key == WRITE_ERROR
        faults.disarm()
        daemon.kill()
    for _ in range(2):
        with herd.serve() as daemon, daemon.log_in("pc-001") as sick:
            check_refusals(sick)
            assert "pc-001" in str(herd.status()["daemon"]["failed_disks"])
            assert daemon.stop() == 0


def test_a_disk_that_was_checked_takes_writes_again(herd: Herd, faults: FaultyCalls) -> None:
    overlay = herd.overlay("pc-001")
    with herd.serve() as daemon:
        with daemon.log_in("pc-001") as sick:
            assert sick.write(64, DATA).key == sick.flush().key == GOOD
            faults.arm("fdatasync", errno.EIO, overlay)
            assert sick.write(128, DATA).key == GOOD
            assert sick.flush().key == WRITE_ERROR
            faults.disarm()
            assert "'goldherd node check pc-001'" in herd.do("status")
            assert "in use" in refused(herd.run("node", "check", "pc-001", "--clear"))
        assert daemon.stop() == 0
    (shown,) = [node for node in json.loads(herd.do("node", "list", "--json")) if node["failed"]]
    assert shown["name"] == "pc-001" and "EIO" in shown["failed"]
    assert "EIO" in herd.do("node", "show", "pc-001") and "EIO" in herd.do("node", "list")
    looked = herd.run("node", "check", "pc-001", "--json")
    (disk,) = json.loads(looked.stdout)
    assert looked.returncode == 1 and not disk["cleared"] and disk["faults"] == []
    assert disk["read_bytes"] >= 4096
    faults.arm("preadv", errno.ENODATA, overlay)
    damaged = herd.run("node", "check", "pc-001", "--clear")
    assert damaged.returncode == 1 and "can't be read: No data available" in damaged.stdout
    assert find_mark(overlay) is not None
    faults.disarm()
    assert "can write to it again" in herd.do("node", "check", "pc-001", "--clear")
    assert json.loads(herd.do("node", "show", "pc-001", "--json"))["failed"] is None
    with herd.serve() as daemon, daemon.log_in("pc-001") as well:
        assert well.read(64, 8) == DATA
        assert well.write(64, DATA).key == well.flush().key == GOOD


def test_a_check_that_meets_the_error_marks_the_disk(herd: Herd, faults: FaultyCalls) -> None:
    """The kernel tells it to this program only, and the daemon must know."""
    overlay = herd.overlay("pc-001")
    faults.arm("fsync", errno.EIO, overlay)
    ended = herd.run("node", "check", "pc-001", "pc-002")
    assert ended.returncode == 1 and "can't be brought to its disk" in ended.stdout
    assert find_mark(overlay) is not None and find_mark(herd.overlay("pc-002")) is None
    with herd.serve() as daemon, daemon.log_in("pc-001") as sick:
        check_refusals(sick)


def test_an_error_at_close_is_kept(herd: Herd, faults: FaultyCalls) -> None:
    with herd.serve() as daemon:
        with daemon.log_in("pc-001") as sick:
            assert sick.write(64, DATA).key == GOOD
            faults.arm("fdatasync", errno.EDQUOT, herd.overlay("pc-001"))
            sick.log_out()
        assert daemon.stop() == 0
        assert "write protected until" in daemon.log
    with herd.serve() as daemon, daemon.log_in("pc-001") as sick:
        check_refusals(sick)


def test_without_a_mark_the_process_knows_as_long_as_the_file_is_the_same(tmp_path: Path) -> None:
    """On a file system without extended attributes, and one that the error has made read-only."""
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(1 << 20))
    config = LunConfig(lun=0, location=str(path), format="raw")
    disks = Disks(Hooks(), GoldenCache(1 << 20))
    disks.remember_failure(config.location, Failure(errno.EIO, "2020-01-01T00:00:00Z", marked=False))
    image = disks.open(config)
    assert image.sync_failure is not None
    with pytest.raises(ImageError, match="has failed"):
        image.close()
    other = path.with_name("other.img")
    other.write_bytes(bytes(1 << 20))
    other.replace(path)
    image = disks.open(config)
    assert image.sync_failure is None
    image.close()


def test_a_node_that_gets_a_fresh_disk_at_each_boot_is_well_after_the_next(herd: Herd, faults: FaultyCalls) -> None:
    herd.do("node", "set", "pc-001", "--policy", "reset")
    with herd.serve() as daemon:
        with daemon.log_in("pc-001") as sick:
            faults.arm("fdatasync", errno.EIO, herd.overlay("pc-001"))
            sick.write(64, DATA)
            assert sick.flush().key == WRITE_ERROR
            faults.disarm()
        with daemon.log_in("pc-001", isid=bytes.fromhex("400027230001")) as fresh:
            assert fresh.write(64, DATA).key == fresh.flush().key == GOOD


@pytest.mark.parametrize("kind", ["raw", "sparse"])
def test_an_exported_disk_stays_failed_over_a_restart(tmp_path: Path, faults: FaultyCalls, kind: str) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(8 << 20))
    words = ("export", f"{kind}:{path}", "--target", "iqn.2020-01.test:disk")

    def session(daemon: Daemon) -> Session:
        return log_in(daemon.portal, "iqn.2020-01.test:disk", "iqn.2020-01.test:me").make_ready()

    with running(tmp_path / "log", *words) as daemon, session(daemon) as sick:
        assert sick.write(64, DATA).key == GOOD
        faults.arm("fdatasync", errno.ENOSPC, path)
        assert sick.flush().key == WRITE_ERROR
        check_refusals(sick)
    with running(tmp_path / "log", *words) as daemon, session(daemon) as sick:
        check_refusals(sick)
        assert sick.read(64, 8) == DATA
