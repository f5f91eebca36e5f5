"""A daemon is told to read its settings again, to drain and to stop, and is started again after a kill."""

import json
import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.targets import PREFIX
from tests.target.daemon import Daemon, Herd, refused
from tests.target.initiator import LINUX_ISID, ConnectionEndedError, LoginRefusedError, loader_isid
from tests.target.test_hung_disks import until

PATTERN = b"\xa5" * 4096
UNAVAILABLE = 0x0301


# --- settings are read again ---


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that GOLDHERD_SETTINGS names."""
    path = tmp_path / "settings"
    path.write_text("# as systemd reads it\nGOLDHERD_PING_SECONDS=3000\nGOLDHERD_PING_TIMEOUT_SECONDS='3000'\n")
    monkeypatch.setenv("GOLDHERD_SETTINGS", str(path))
    return path


def reread(herd: Herd, daemon: Daemon, times: int = 1) -> str:
    """SIGHUP, and the line of the log that follows: the one of that number."""
    daemon.process.send(signal.SIGHUP)
    log = herd.data / "goldherd.log"

    def lines() -> list[str]:
        return [line for line in log.read_text().splitlines() if "read again" in line or "stay as they are" in line]

    until(lambda: log.exists() and len(lines()) == times)
    return lines()[-1]


def test_sighup_reads_the_settings_again(herd: Herd, settings: Path) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as session:
        assert session.write(8, PATTERN).status == 0
        settings.write_text("GOLDHERD_PING_SECONDS=1\nGOLDHERD_PING_TIMEOUT_SECONDS=3000\nGOLDHERD_CACHE=3M\n")
        told = json.loads(reread(herd, daemon))
        assert told["changed"] == ["ping_seconds"] and told["need_a_restart"] == ["cache"]
        assert session.receive().header[0] & 0x3F == 0x20, "the idle session is pinged after a second, not after 3,000"
        assert session.read(8, 8) == PATTERN
        assert daemon.stop() == 0


def test_settings_that_are_wrong_change_nothing(herd: Herd, settings: Path) -> None:
    with herd.serve() as daemon:
        for number, text in enumerate(("GOLDHERD_PING_SECONDS=soon\n", "nonsense\n", "GOLDHERD_PINGSECONDS=1\n"), 1):
            settings.write_text(text)
            assert "stay as they are" in reread(herd, daemon, number)
        daemon.log_in("pc-001").socket.close()
        assert daemon.stop() == 0


def test_log_level_changes_while_the_daemon_runs(herd: Herd, settings: Path) -> None:
    with herd.serve() as daemon:
        settings.write_text("GOLDHERD_LOG_LEVEL=warning\nGOLDHERD_CACHE=3M\n")
        reread(herd, daemon)
        daemon.log_in("pc-001").socket.close()
        settings.write_text("GOLDHERD_LOG_LEVEL=info\nGOLDHERD_CACHE=3M\n")
        reread(herd, daemon, 2)
        daemon.log_in("pc-002").socket.close()
    log = (herd.data / "goldherd.log").read_text()
    assert '"node": "pc-002"' in log and '"node": "pc-001"' not in log


def test_log_file_may_be_taken_away_at_any_time(herd: Herd, settings: Path) -> None:
    with herd.serve() as daemon:
        (herd.data / "goldherd.log").rename(herd.data / "goldherd.log.1")
        reread(herd, daemon)
        assert (herd.data / "goldherd.log").exists()


def test_wrong_settings_end_the_start_in_a_sentence(herd: Herd, settings: Path) -> None:
    settings.write_text("GOLDHERD_PING_SECONDS=0\n")
    sentence = refused(herd.run("serve", "--listen", "127.0.0.1:0"))
    assert f"GOLDHERD_PING_SECONDS in {settings} can't be used" in sentence


# --- draining ---


def test_draining_lets_no_machine_begin_to_boot(herd: Herd) -> None:
    with herd.serve() as daemon:
        assert json.loads(herd.do("drain", "--json")) == {"draining": True, "nodes": [], "safe": True}
        with pytest.raises(LoginRefusedError) as refusal:
            daemon.log_in("pc-001", isid=loader_isid(1))
        assert refusal.value.status == UNAVAILABLE
        assert herd.status()["daemon"]["draining"] is True
        assert "It drains" in herd.do("status")
        herd.do("drain", "--off")
        with daemon.log_in("pc-001", isid=loader_isid(1)):
            assert herd.status()["daemon"]["draining"] is False


def test_machines_that_run_may_come_back_while_the_daemon_drains(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as session:
        assert session.write(8, PATTERN).status == 0
        said = json.loads(herd.do("drain", "--json"))
        assert said == {"draining": True, "nodes": ["pc-001"], "safe": False}
        session.socket.close()
        until(lambda: not herd.status()["daemon"]["sessions"])
        with daemon.log_in("pc-001") as again:
            assert again.read(8, 8) == PATTERN
            with daemon.log_in("pc-001") as instead:  # session reinstatement, as iscsid does it
                assert instead.read(8, 8) == PATTERN
        with pytest.raises(LoginRefusedError):
            daemon.log_in("pc-001", isid=loader_isid(1))


def test_boot_that_has_begun_goes_on_while_the_daemon_drains(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001", isid=loader_isid(1)) as loader:
        herd.do("drain")
        with daemon.log_in("pc-001", isid=loader_isid(2)), daemon.log_in("pc-001") as system:
            system.read(0, 8)
            loader.read(0, 8)


def test_drain_waits_until_no_node_runs(herd: Herd) -> None:
    with herd.serve() as daemon:
        session = daemon.log_in("pc-001")
        done = []
        waits = threading.Thread(target=lambda: done.append(herd.run("drain", "--wait")))
        waits.start()
        until(lambda: herd.status()["daemon"]["draining"])
        session.log_out()
        waits.join()
        assert done[0].stdout == "Safe to stop: no node runs from here.\n"
        assert done[0].stderr in ("", "1 node runs from here: pc-001.\n")


# --- stopping ---


def test_stop_refuses_while_nodes_run(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as session, daemon.log_in("pc-003"):
        sentence = refused(herd.run("stop"))
        assert sentence.startswith("2 nodes run from here: pc-001, pc-003.") and "--force" in sentence
        error = json.loads(herd.run("stop", "--json").stdout)["error"]
        assert error["kind"] == "in-use"
        assert [each["name"] for each in error["about"]][1:] == ["pc-001", "pc-003"]
        session.read(0, 8)
        done = json.loads(herd.do("stop", "--force", "--json"))
        assert done == {"pid": daemon.process.pid, "nodes": ["pc-001", "pc-003"]}
        assert not daemon.process.running
        assert daemon.stop() == 0


def test_stop_waits_for_the_end(herd: Herd) -> None:
    with herd.serve() as daemon:
        assert herd.do("stop").startswith("The daemon")
        assert not daemon.process.running and daemon.stop() == 0
    for command in ("stop", "drain"):
        assert "No daemon runs" in refused(herd.run(command))


def test_group_of_the_folder_may_ask_and_not_stop(herd: Herd) -> None:
    with herd.serve():
        path = str(herd.data / "control.sock")
        os.chown(path, -1, 65534)
        Path(path).chmod(0o666)
        herd.data.parent.chmod(0o755)
        for folder in (herd.data, *herd.data.parents):
            folder.chmod(folder.stat().st_mode | 0o011)
        replies = {command: ask_as_nobody(path, command) for command in ("status", "drain", "stop")}
        assert "portals" in replies["status"]
        assert "Only the user" in replies["drain"]["error"] and "Only the user" in replies["stop"]["error"]
        assert herd.status()["daemon"]["draining"] is False


def ask_as_nobody(path: str, command: str) -> dict[str, str]:
    """What the control socket answers to another user."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgid(65534)
        os.setuid(65534)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(json.dumps({"command": command}).encode() + b"\n")
            with client.makefile("rb") as stream:
                os.write(writer, stream.readline())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        reply: dict[str, str] = json.loads(stream.read())
    os.waitpid(child, 0)
    return reply


# --- killed and started again ---

KEY = 0x1122334455667788


def persist(out: bool, action: int, *, kind: int = 0, parameters: bytes = b"") -> bytes:
    """PERSISTENT RESERVE OUT or IN (SPC-4 6.16, 6.15)."""
    length = len(parameters) if out else 255
    return struct.pack(">BBB", 0x5F if out else 0x5E, action, kind) + bytes(2) + struct.pack(">IB", length, 0)


def reserve_parameters(key: int, service_key: int) -> bytes:
    """The parameter list with APTPL set (SPC-4 6.16.3)."""
    return struct.pack(">QQ4xB3x", key, service_key, 1)


@pytest.fixture
def killed(herd: Herd) -> Iterator[Herd]:
    """A daemon was killed under two sessions, with reservations, flushed and unflushed data."""
    with herd.serve() as daemon, daemon.log_in("pc-001") as first, daemon.log_in("pc-002") as second:
        register = reserve_parameters(0, KEY)
        assert first.command(persist(True, 0, parameters=register), write=register).status == 0
        reserve = reserve_parameters(KEY, 0)
        assert first.command(persist(True, 1, kind=1, parameters=reserve), write=reserve).status == 0
        for session in (first, second):
            assert session.write(8, PATTERN).status == 0
            assert session.flush().status == 0
            assert session.write(64, PATTERN).status == 0  # in the kernel, and no flush has asked for it
        daemon.kill()
        for session in (first, second):
            assert session.ended()
    assert (herd.data / "control.sock").exists(), "the kill has left it"
    yield herd


def test_nodes_go_on_after_a_kill(killed: Herd) -> None:
    """Same initiator name, same ISID: as a running system logs in again."""
    with killed.serve() as daemon:
        assert killed.status()["daemon"]["pid"] == daemon.process.pid
        for node in ("pc-001", "pc-002"):
            with daemon.log_in(node, isid=LINUX_ISID) as session:
                assert session.read(8, 8) == PATTERN
                assert session.write(128, PATTERN).status == 0
                assert session.flush().status == 0
        assert daemon.stop() == 0


def test_reservations_are_as_before_a_kill(killed: Herd) -> None:
    with killed.serve() as daemon, daemon.log_in("pc-001") as holder:
        keys = holder.command(persist(False, 0), read=255)
        assert keys.status == 0 and KEY.to_bytes(8) in keys.data
        reservation = holder.command(persist(False, 1), read=255)
        assert reservation.data[8:16] == KEY.to_bytes(8) and reservation.data[21] & 0x0F == 1
        assert holder.write(8, PATTERN).status == 0
        killed.do("node", "set", "pc-001", "--initiator", "any")
    with killed.serve() as daemon, daemon.log_in("pc-001", initiator=f"{PREFIX}.node:other") as other:
        conflict = other.write(8, PATTERN)
        assert conflict.status == 0x18, "RESERVATION CONFLICT: write exclusive, and another initiator port holds it"


# --- old sessions that hang ---


@pytest.mark.parametrize("isid", [LINUX_ISID, bytes.fromhex("00023d000002"), loader_isid(3)])
def test_reboot_is_not_blocked_by_the_session_before(herd: Herd, isid: bytes) -> None:
    """The machine was reset: its old connection still lives and says nothing, and it comes with any ISID."""
    with herd.serve() as daemon, daemon.log_in("pc-001") as old:
        assert old.write(8, PATTERN).status == 0
        old.start(b"\x28\0" + bytes(5) + b"\x40\0")  # a read whose data nothing takes
        with daemon.log_in("pc-001", isid=isid) as new:
            assert new.read(8, 8) == PATTERN
        if isid == LINUX_ISID:
            with pytest.raises(ConnectionEndedError):
                while True:
                    old.receive()
