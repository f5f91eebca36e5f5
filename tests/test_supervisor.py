"""What the daemon tells its supervisor (sd_notify(3))."""

import socket
from pathlib import Path

import pytest
from goldherd.supervisor import notify


@pytest.mark.parametrize("abstract", [False, True])
def test_supervisor_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"@goldherd-test-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind("\0" + name[1:] if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        assert notify(READY=1, MAINPID=4711)
        assert supervisor.recv(100) == b"READY=1\nMAINPID=4711"


@pytest.mark.parametrize("address", ["", "nonsense", "/nowhere/notify"])
def test_nobody_is_told(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify(READY=1)
