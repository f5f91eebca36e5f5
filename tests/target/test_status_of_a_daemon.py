"""`goldherd status` while the daemon works, and who may ask it."""

import json
import socket

from tests.support.targets import PREFIX
from tests.target.daemon import Herd, goldherd
from tests.target.initiator import loader_isid, log_in


def test_status_shows_every_session_and_counts_commands(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as system, daemon.log_in("pc-002", isid=loader_isid(7)):
        with log_in(daemon.portal, None, f"{PREFIX}.node:pc-003"):
            before = herd.status()
            found = before["daemon"]
            assert before["running"] and found["pid"] == daemon.process.pid
            assert found["portals"] == ["{}:{}".format(*daemon.portal)]
            sessions = {session["initiator"]: session for session in found["sessions"]}
            assert len(sessions) == 3
            assert sessions[f"{PREFIX}.node:pc-001"] == {
                "node": "pc-001",
                "target": f"{PREFIX}:pc-001",
                "initiator": f"{PREFIX}.node:pc-001",
                "address": "{}:{}".format(*system.socket.getsockname()),
                "isid": "00023d000001",
                "connections": 1,
                "state": "logged in",
            }
            assert sessions[f"{PREFIX}.node:pc-002"]["state"] == "loader"
            assert sessions[f"{PREFIX}.node:pc-003"]["state"] == "discovery"
        system.read(0, 8)
        system.write(0, bytes(4096))
        after = herd.status()["daemon"]["counters"]
        for name, grown in (("reads", 1), ("read_bytes", 4096), ("writes", 1), ("write_bytes", 4096)):
            assert after[name] - before["daemon"]["counters"][name] == grown, name
        for text in (herd.do("status"), herd.do("node", "list")):
            assert "pc-001" in text


def test_node_list_tells_when_and_from_where_a_node_was_seen(herd: Herd) -> None:
    with herd.serve() as daemon:
        with daemon.log_in("pc-001") as session:
            address = "{}:{}".format(*session.socket.getsockname())
        assert daemon.stop() == 0
    seen = {node["name"]: node for node in json.loads(herd.do("node", "list", "--json"))}
    assert address in seen["pc-001"].values()
    assert address not in seen["pc-002"].values()


def test_nonsense_on_the_control_socket_is_answered_in_words(herd: Herd) -> None:
    with herd.serve() as daemon:
        for request in (b"\n", b"hello\n", b"[1]\n", b'{"command": "explode"}\n', b"x" * 100_000):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(30)
                client.connect(str(herd.data / "control.sock"))
                try:
                    client.sendall(request)
                    reply = client.recv(65536)
                except (BrokenPipeError, ConnectionResetError):
                    reply = b""
                assert not reply or "error" in json.loads(reply)
        assert herd.status()["running"]
        assert "Traceback" not in daemon.log


def test_without_a_daemon_status_says_so(herd: Herd) -> None:
    assert herd.status()["running"] is False
    with herd.serve() as daemon:
        daemon.kill()
    assert herd.status()["running"] is False, "a killed daemon's socket answers nobody"
    assert goldherd("--data", herd.data, "status").returncode == 0
