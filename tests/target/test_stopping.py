"""How a daemon ends, in good order and not, and what its clients find afterwards."""

import os
import pty
import re
import signal

import pytest

from bench.pattern import words
from tests.interop.conftest import run_tool
from tests.support.targets import GOLDHERD, PREFIX
from tests.target.daemon import QUICK, Herd, refused
from tests.target.initiator import ConnectionEndedError, loader_isid, log_in

PATTERN = b"\xa5" * 4096


def test_sigterm_asks_clients_to_log_out_and_ends_with_0(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as session:
        assert session.write(8, PATTERN).status == 0
        assert daemon.stop() == 0
        with pytest.raises(ConnectionEndedError):
            session.take()
        (message,) = session.messages
        assert message.header[36] == 1, "the target requests a logout (RFC 7143 11.9.1)"
        assert not (herd.data / "control.sock").exists()

    with herd.serve() as daemon, daemon.log_in("pc-001") as session:
        assert session.read(8, 8) == PATTERN


def test_client_that_logs_out_when_asked_is_answered(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as session:
        daemon.process.send(signal.SIGTERM)
        assert session.receive().header[36] == 1
        session.log_out()
        assert daemon.stop() == 0


def test_second_signal_ends_the_patience_with_clients(herd: Herd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(QUICK, "GOLDHERD_SHUTDOWN_SECONDS", "600")
    with herd.serve() as daemon, daemon.log_in("pc-001") as session:
        assert session.write(8, PATTERN).status == 0
        daemon.process.send(signal.SIGINT)
        assert session.receive().header[36] == 1
        daemon.process.send(signal.SIGINT)
        assert session.ended()
        assert daemon.stop() == 0
    with herd.serve() as daemon, daemon.log_in("pc-001") as session:
        assert session.read(8, 8) == PATTERN


def test_a_terminal_that_is_closed_ends_the_daemon_in_good_order(herd: Herd) -> None:
    pid, terminal = pty.fork()
    if not pid:
        os.execv(GOLDHERD[0], [*GOLDHERD, "--data", str(herd.data), "serve", "--listen", "127.0.0.1:0"])
    said = b""
    while b"ready " not in said or not said.endswith(b"\n"):
        said += os.read(terminal, 4096)
    port = int(re.findall(rb"ready [0-9.]+:(\d+)", said)[0])
    with log_in(("127.0.0.1", port), f"{PREFIX}:pc-001", f"{PREFIX}.node:pc-001") as session:
        assert session.make_ready().write(8, PATTERN).status == 0
        os.close(terminal)
        assert session.receive().header[36] == 1, "the target requests a logout (RFC 7143 11.9.1)"
        session.log_out()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with herd.serve() as daemon, daemon.log_in("pc-001") as session:
        assert session.read(8, 8) == PATTERN


def test_loader_is_sent_nothing_it_does_not_understand(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001", isid=loader_isid(1)) as session:
        assert daemon.stop() == 0
        assert session.ended(), "an Async Message makes iPXE reconnect at once"


def test_what_was_flushed_survives_sigkill(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as first, daemon.log_in("pc-002") as second:
        for number in range(64):
            data = bytes([number + 1]) * 512
            assert first.write(number * 401, data).status == 0
            assert second.write(number * 401, data, fua=True).status == 0
        assert first.flush().status == 0
        for number in range(64, 80):  # nobody promised these
            first.start(b"\x2a\0" + (number * 401).to_bytes(4) + b"\0\0\1\0", write=PATTERN[:512], immediate=512)
        daemon.kill()
    with herd.serve() as daemon:
        for node in ("pc-001", "pc-002"):
            with daemon.log_in(node) as session:
                for number in range(64):
                    assert session.read(number * 401, 1) == bytes([number + 1]) * 512
                assert session.read(1, 8) == words(512, 4096)


def test_qemu_flush_survives_sigkill(herd: Herd) -> None:
    herd.do("node", "add", "kiosk", "--image", "lab", "--initiator", "any")
    with herd.serve() as daemon:
        script = ("write -P 0xa5 3M 1M", "flush", "write -f -P 0x5a 9M 4k")
        run_tool("qemu-io", "-f", "raw", *(w for line in script for w in ("-c", line)), daemon.url("kiosk"))
        daemon.kill()
    with herd.serve() as daemon:
        checks = ("read -P 0xa5 3M 1M", "read -P 0x5a 9M 4k")
        told = run_tool("qemu-io", "-f", "raw", *(w for line in checks for w in ("-c", line)), daemon.url("kiosk"))
        assert "verification failed" not in told


def test_second_daemon_on_the_same_data_is_refused(herd: Herd) -> None:
    with herd.serve() as daemon:
        sentence = refused(herd.run("serve", "--listen", "127.0.0.1:0"))
        assert "Another daemon serves" in sentence and str(herd.data) in sentence
        daemon.log_in("pc-001").socket.close()
        assert herd.status()["running"], "the second left the first one's socket alone"
        daemon.kill()
    with herd.serve() as daemon:  # a killed one leaves nothing in the way
        daemon.log_in("pc-001").socket.close()
