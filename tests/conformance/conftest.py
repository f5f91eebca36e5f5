"""Somebody else's target to measure the runner against: tgtd on loopback, apart from any other tgtd."""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_NAME = "iqn.2026-11.io.goldherd:judge"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def tgtd_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a thin 64 MiB unit that tgtd serves; needs root, as tgtd does."""
    disk = tmp_path_factory.mktemp("tgtd") / "disk"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    port = _free_port()
    control = str(port % 30000 + 1000)  # names the control socket, so that several tgtd don't meet
    daemon = subprocess.Popen(
        ["tgtd", "--foreground", "--control-port", control, "--iscsi", f"portal=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait_for(Path(f"/var/run/tgtd/socket.{control}"), daemon)
        for arguments in (
            ["--mode", "target", "--op", "new", "--tid", "1", "--targetname", _NAME],
            [
                "--mode",
                "logicalunit",
                "--op",
                "new",
                "--tid",
                "1",
                "--lun",
                "1",
                "--backing-store",
                str(disk),
            ],
            [
                "--mode",
                "logicalunit",
                "--op",
                "update",
                "--tid",
                "1",
                "--lun",
                "1",
                "--params",
                "thin_provisioning=1",
            ],
            ["--mode", "target", "--op", "bind", "--tid", "1", "--initiator-address", "ALL"],
        ):
            subprocess.run(["tgtadm", "--control-port", control, "--lld", "iscsi", *arguments], check=True)
        yield f"iscsi://127.0.0.1:{port}/{_NAME}/1"
    finally:
        daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _wait_for(path: Path, daemon: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if path.exists():
            return
        if daemon.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("tgtd did not start: is the package tgt installed, and are we root?")
