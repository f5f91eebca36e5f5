"""A golden image that changes while machines run from it: noticed, told, refused to others, and allowed again."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.pattern import words
from tests.target.daemon import Daemon, Herd, refused
from tests.target.initiator import LoginRefusedError

SERVICE_UNAVAILABLE = 0x0301


def until(what: Callable[[], object]) -> None:
    """Waits for something that the daemon does by itself within a minute."""
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def faults(herd: Herd) -> list[dict[str, object]]:
    found: list[dict[str, object]] = herd.status()["daemon"]["golden_faults"]
    return found


def may_not_log_in(daemon: Daemon, node: str) -> None:
    with pytest.raises(LoginRefusedError) as refusal:
        daemon.log_in(node)
    assert refusal.value.status == SERVICE_UNAVAILABLE
    told = [line for line in daemon.log.splitlines() if "a login can't be served" in line and node in line]
    assert told and "lab@1 can't be used" in told[-1]


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon verifies nothing by itself."""
    monkeypatch.setenv("GOLDHERD_VERIFY_EVERY", "off")


@pytest.mark.usefixtures("never")
def test_changed_golden_takes_no_new_node_until_it_was_verified(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as running:
        assert running.read(0, 8) == words(0, 4096)
        os.utime(herd.golden, ns=(1, 1))
        until(lambda: faults(herd))
        (fault,) = faults(herd)
        assert (fault["version"], fault["kind"], fault["nodes"]) == ("lab@1", "changed", ["pc-001"])
        assert "pc-001 reads from it" in herd.do("status")
        assert "active, changed" in herd.do("image", "list")
        assert "its modification time differs" in herd.do("image", "show", "lab")
        may_not_log_in(daemon, "pc-002")
        assert running.read(8, 8) == words(4096, 4096), "a machine that runs goes on"
        assert running.write(0, bytes(4096)).status == running.flush().status == 0
        assert "nodes get it again" in herd.do("image", "verify", "lab@1")
        with daemon.log_in("pc-002") as other:
            assert other.read(8, 8) == words(4096, 4096)
        until(lambda: not faults(herd))
        assert daemon.log.count("a golden image was changed") == 1
        (shown,) = json.loads(herd.do("image", "list", "--json"))
        assert (shown["changed"], shown["outcome"]) == (None, "right")


@pytest.mark.usefixtures("never")
def test_change_outlives_the_daemon(herd: Herd) -> None:
    before = herd.golden.stat()
    with herd.serve():
        os.utime(herd.golden, ns=(1, 1))
        until(lambda: faults(herd))
    os.utime(herd.golden, ns=(before.st_atime_ns, before.st_mtime_ns))
    with herd.serve() as daemon:
        may_not_log_in(daemon, "pc-001")
        until(lambda: faults(herd))
    assert "was changed" in refused(herd.run("node", "add", "pc-9", "--image", "lab"))


@pytest.mark.usefixtures("never")
def test_what_was_read_of_a_changed_file_is_read_anew(herd: Herd, tmp_path: Path) -> None:
    """The golden cache holds what the file was like when it was wrong."""
    good = tmp_path / "backup"
    shutil.copy2(herd.golden, good)
    status = herd.golden.stat()
    herd.golden.chmod(0o644)
    with herd.golden.open("r+b") as file:
        file.seek(8 << 20)
        file.write(b"\xee" * 4096)
    os.utime(herd.golden, ns=(status.st_atime_ns, status.st_mtime_ns))  # hidden from the check at open
    with herd.serve() as daemon, daemon.log_in("pc-001") as running:
        assert running.read((8 << 20) // 512, 8) == b"\xee" * 4096
        assert "is damaged" in refused(herd.run("image", "verify", "lab"))
        may_not_log_in(daemon, "pc-002")
        herd.golden.write_bytes(good.read_bytes())
        herd.do("image", "verify", "lab")
        with daemon.log_in("pc-002") as other:
            assert other.read((8 << 20) // 512, 8) == words(8 << 20, 4096)


def test_daemon_lets_a_right_file_be_used_again_by_itself(herd: Herd) -> None:
    with herd.serve("--verify-rate", "0") as daemon:
        os.utime(herd.golden, ns=(1, 1))
        until(lambda: "usable_again=True" in daemon.log)
        until(lambda: not faults(herd))
        with daemon.log_in("pc-001") as running:
            assert running.read(0, 8) == words(0, 4096)
        (shown,) = json.loads(herd.do("image", "list", "--json"))
        assert shown["outcome"] == "right" and shown["verified_at"] is not None


def test_progress_of_a_slow_verification_is_shown_and_does_not_delay_the_end(
    herd: Herd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLDHERD_VERIFY_EVERY", "1s")
    with herd.serve("--verify-rate", "64K") as daemon:
        until(lambda: herd.status()["daemon"]["verifying"])
        assert "Verifying lab@1: " in herd.do("status")
        assert daemon.stop() == 0


def test_all_versions_are_verified_by_one_command(herd: Herd, raw: Path) -> None:
    herd.do("image", "import", raw, "--name", "other")
    assert herd.do("image", "verify", "--all").count("every byte is as it was sealed") == 2
    (broken,) = (herd.data / "images").glob("other@1*")
    broken.chmod(0o644)
    with broken.open("r+b") as file:
        file.seek(8 << 20)
        file.write(b"x")
    ended = herd.run("image", "verify", "--all", "--json")
    found = json.loads(ended.stdout)
    assert ended.returncode == 1 and [document["name"] for document in found] == ["lab@1", "other@1"]
    assert found[1]["error"]["kind"] == "damaged" and "other@1 is damaged" in ended.stderr
    assert herd.run("image", "verify").returncode == herd.run("image", "verify", "lab", "--all").returncode == 2
