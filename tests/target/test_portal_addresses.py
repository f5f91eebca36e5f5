"""Addresses that can't be had, each with the sentence that fits; link-local addresses with their zone."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.target.daemon import goldherd, refused
from tests.target.inprocess import serving


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "served.raw"
    path.write_bytes(bytes(1 << 20))
    return path


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("192.0.2.77:3260", "this machine does not have the address 192.0.2.77"),
        ("[fe80::1%nope0]:3260", "fe80::1 is no address, or this machine has no network interface nope0"),
        ("[fe80::1]:3260", "fe80::1 needs the network interface that it belongs to"),
    ],
)
def test_an_address_that_this_machine_has_not(disk: Path, address: str, reason: str) -> None:
    assert reason in refused(goldherd("export", disk, "--listen", address))


def test_a_name_that_no_host_has(disk: Path) -> None:
    said = refused(goldherd("export", disk, "--listen", "host.invalid:3260"))
    assert "host.invalid" in said and "or name an address." in said


def test_a_port_that_is_taken(disk: Path, tmp_path: Path) -> None:
    with serving(tmp_path) as portal:
        said = refused(goldherd("export", disk, "--listen", f"127.0.0.1:{portal[1]}"))
    assert f"another program uses port {portal[1]}. Stop it, or choose another port." in said


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace with a link-local address on its interface d0."""
    name = f"gh{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for words in (
            "link add d0 type veth peer name d1",
            "link set d0 up",
            "link set d1 up",
            "-6 address add fe80::77/64 dev d0 nodad",
        ):
            subprocess.run(["ip", "-n", name, *words.split()], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def test_a_link_local_address_is_listened_on_with_its_zone(disk: Path, namespace: str) -> None:
    command = [sys.executable, "-m", "goldherd.cli.main", "export", str(disk), "--listen", "[fe80::77%d0]:0"]
    with subprocess.Popen(
        ["ip", "netns", "exec", namespace, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert ready.startswith("ready iscsi://[fe80::77"), said
