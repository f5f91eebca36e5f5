"""Hand-overs as others see them: a supervisor, initiators that goldherd has not written, and disks that hang."""

import errno
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from bench.pattern import words
from tests.support.faulty_calls import FaultyCalls
from tests.support.targets import PREFIX
from tests.target.daemon import Herd
from tests.target.handing import hand_over, refusal, serving, serving_pid, status

NODE = "pc-001"
LONG_SECONDS = 3600


class Supervisor:
    """The socket on which systemd listens to its services (sd_notify(3))."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(30)

    def hears(self) -> dict[str, str]:
        """The next message."""
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())


def test_supervisor_learns_which_process_is_the_daemon(
    herd: Herd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = Supervisor(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with serving(herd) as daemon, daemon.log_in(NODE):
        assert supervisor.hears() == {"READY": "1"}
        pid = str(hand_over(herd)["pid"])
        assert sorted((supervisor.hears(), supervisor.hears()), key=len) == [
            {"MAINPID": pid},
            {"MAINPID": pid, "READY": "1"},
        ]


def say(herd: Herd, qemu: "subprocess.Popen[str]", line: str, counter: str, least: int) -> None:
    """One command of qemu-io, which takes no line before the one before is done: when the daemon has counted."""
    assert qemu.stdin is not None
    print(line, file=qemu.stdin, flush=True)
    deadline = time.monotonic() + 60
    while status(herd)["counters"][counter] < least:
        assert time.monotonic() < deadline, line
        time.sleep(0.02)


def test_qemu_notices_nothing(herd: Herd) -> None:
    with serving(herd) as daemon:
        portal = f"{daemon.portal[0]}:{daemon.portal[1]}"
        place = f"driver=iscsi,transport=tcp,portal={portal},target={PREFIX}:{NODE},lun=0"
        command = ["qemu-io", "--image-opts", f"{place},initiator-name={PREFIX}.node:{NODE}"]
        with subprocess.Popen(
            command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as qemu:
            for turn in range(1, 4):
                say(herd, qemu, f"write -P {turn} {turn}M 1M", "write_bytes", turn << 20)
                assert hand_over(herd)["sessions"] == 1
            for turn in range(1, 4):
                say(herd, qemu, f"read -P {turn} {turn}M 1M", "read_bytes", turn << 20)
            told, _ = qemu.communicate("quit\n", timeout=60)
        assert qemu.returncode == 0
        assert told.count("wrote 1048576/1048576 bytes") == told.count("read 1048576/1048576 bytes") == 3
        assert "error" not in told.lower() and "failed" not in told.lower()


def test_initiator_with_commands_in_flight_notices_nothing(herd: Herd) -> None:
    with serving(herd) as daemon:
        url = daemon.url(NODE)
        command = ["iscsi-perf", "-i", f"{PREFIX}.node:{NODE}", "-m", "32", "-b", "8", "-t", "20", "-r", url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as perf:
            while not status(herd)["sessions"]:
                time.sleep(0.05)
            for _ in range(3):
                assert hand_over(herd)["sessions"] == 1
            told, _ = perf.communicate(timeout=90)
        assert perf.returncode == 0, told
        assert "failed" not in told.lower() and "reconnect" not in told.lower(), told


def test_disk_that_hangs_ends_a_hand_over_before_anything_stands_still(herd: Herd, faults: FaultyCalls) -> None:
    with serving(herd) as daemon, daemon.log_in(NODE) as sick, daemon.log_in("pc-002") as well:
        assert sick.write(8, b"\xa5" * 4096).status == 0
        pid = serving_pid(herd)
        faults.arm("fdatasync", errno.EIO, f"overlays/{NODE}.", times=1 << 20, sleep_seconds=LONG_SECONDS)
        reason = refusal(herd)
        # On a busy machine another disk may be late too.
        assert re.search(rf"disks? of {NODE}\b.* (does|do) not answer", reason), reason
        assert serving_pid(herd) == pid
        assert well.read(8, 8) == words(4096, 4096)
        assert well.write(8, b"\x5a" * 4096).status == 0
        assert sick.read(8, 8) == b"\xa5" * 4096
        daemon.kill()


def test_disk_that_can_not_be_flushed_moves_as_one_that_has_failed(herd: Herd, faults: FaultyCalls) -> None:
    with serving(herd) as daemon, daemon.log_in(NODE) as session:
        assert session.write(8, b"\xa5" * 4096).status == 0
        faults.arm("fdatasync", errno.EIO, f"overlays/{NODE}.")
        hand_over(herd)
        assert status(herd)["failed_disks"][0]["node"] == NODE
        assert session.write(8, b"\x5a" * 4096).key[0] == 7, "DATA PROTECT"
        assert session.read(16, 8) == words(8192, 4096)
