"""`goldherd status`: with a daemon, without one, and with what a dead one left."""

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPLY = {
    "portals": ["192.0.2.1:3260"],
    "sessions": [
        {
            "node": "pc-1",
            "target": "iqn.2026-11.io.goldherd:pc-1",
            "initiator": "iqn.2026-11.io.goldherd.node:pc-1",
            "address": "192.0.2.7:40000",
            "state": "logged in",
        }
    ],
    "cache": {"used_bytes": 1 << 30, "hits": 7},
}


@pytest.fixture
def answer(data: Path) -> Callable[[bytes], list[bytes]]:
    """Listens where a daemon would, and answers one request with the given bytes."""

    def do(reply: bytes) -> list[bytes]:
        requests: list[bytes] = []
        server = socket.socket(socket.AF_UNIX)
        data.mkdir(exist_ok=True)
        (data / "control.sock").unlink(missing_ok=True)
        server.bind(str(data / "control.sock"))
        server.listen()

        def serve() -> None:
            with server, server.accept()[0] as connection, connection.makefile("rb") as stream:
                requests.append(stream.readline())
                connection.sendall(reply)

        threading.Thread(target=serve, daemon=True).start()
        return requests

    return do


def test_status_without_a_daemon_shows_the_catalog(run: Any, lab: None) -> None:
    ended = run("status")
    assert ended.code == 0
    assert ended.out.startswith("No daemon is running")
    assert "1 image, 1 version" in ended.out
    shown = run("status", "--json").json
    assert (shown["running"], shown["daemon"], shown["catalog"]["images"]) == (False, None, 1)


def test_socket_that_a_dead_daemon_left_is_no_daemon(run: Any, data: Path) -> None:
    data.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(data / "control.sock"))
    assert run("status", "--json").json["running"] is False


def test_status_asks_the_daemon(run: Any, answer: Any) -> None:
    requests = answer(json.dumps(REPLY).encode() + b"\n")
    shown = run("status", "--json").json
    assert json.loads(requests[0]) == {"command": "status"}
    assert shown["running"] is True
    assert shown["daemon"] == REPLY


def test_status_and_plugins_show_the_failures_of_plugins(run: Any, answer: Any) -> None:
    failed = {
        "name": "vhd",
        "faults": 3,
        "last": "The plugin vhd failed in open (ZeroDivisionError).",
        "at": "2026-11-28T12:00:00Z",
    }
    reply = json.dumps({**REPLY, "plugins": [failed]}).encode() + b"\n"
    sentence = (
        "Plugin vhd: 3 faults, the last at 2026-11-28T12:00:00Z. The plugin vhd failed in open (ZeroDivisionError).\n"
    )
    answer(reply)
    assert sentence in run("status").out
    answer(reply)
    assert sentence in run("plugins").out
    answer(reply)
    shown = {plugin["name"]: plugin for plugin in run("plugins", "--json").json}
    assert [shown["vhd"][key] for key in ("faults", "last_fault", "fault_at")] == list(failed.values())[1:]
    assert shown["auth_chap"]["faults"] == 0


def test_plugins_without_a_daemon_show_what_they_bring(run: Any, data: Path) -> None:
    shown = {plugin["name"]: plugin for plugin in run("plugins", "--json").json}
    assert shown["vhd"]["formats"] == ["vhd", "vhd-fixed"] and shown["vhd"]["faults"] is None
    assert shown["filter_delay"]["filters"] == ["delay"] and "wrap_image" in shown["filter_delay"]["hooks"]
    (one,) = run("plugins", "auth_chap", "--json").json
    assert list(one) == list(shown["vhd"]) and one["name"] == "auth_chap"
    assert run("plugins", "zebra").code == 1
    assert not data.exists()


def test_status_for_people_shows_portals_sessions_and_cache(run: Any, answer: Any) -> None:
    answer(json.dumps(REPLY).encode() + b"\n")
    out = run("status").out
    assert "Serving on 192.0.2.1:3260." in out
    assert "used_bytes 1.0 GiB" in out
    assert any("pc-1" in line and "192.0.2.7:40000" in line for line in out.splitlines())


@pytest.mark.parametrize("reply", [b"", b"nonsense\n", b"[]\n", b'{"error": "It is too late."}\n'])
def test_answer_without_sense_is_one_sentence(run: Any, answer: Any, reply: bytes) -> None:
    answer(reply)
    ended = run("status")
    assert ended.code == 1
    assert ended.err.count("\n") == 1
