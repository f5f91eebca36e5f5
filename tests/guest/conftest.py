"""One boot of a Linux guest that runs guest/checks against a goldherd with two portals; what each check said."""

import subprocess
from pathlib import Path

import pytest

from tests.boot.kernel import fetch_kernel
from tests.boot.machine import accelerator, qemu
from tests.guest.system import fetch_system
from tests.support.process import Process, free_port
from tests.support.targets import GOLDHERD, PREFIX

TARGET, INITIATOR = f"{PREFIX}:guest", f"{PREFIX}.node:guest"
DISK_BYTES = 64 << 20
UNITS = ("", "", "", ",removable")
NETWORKS = ("10.0.2", "10.0.3")
MEMORY_MIB = 512
SECONDS_MAX = 1200


def serve(folder: Path) -> tuple[Process, list[str]]:
    """An export with two portal groups; the portals as the guest's two networks show them."""
    disks = []
    for number, options in enumerate(UNITS):
        disk = folder / f"disk-{number}.raw"
        with disk.open("wb") as file:
            file.truncate(DISK_BYTES)
        disks.append(f"{disk}{options}")
    portals, listen = [], []
    for tag, network in enumerate(NETWORKS, start=1):
        port = free_port()
        portals.append(f"{network}.2:{port}")
        listen += ["--listen", f"127.0.0.1:{port},{tag}={portals[-1]}"]
    command = [*GOLDHERD, "--data", str(folder / "data"), "export", *disks, "--target", TARGET, *listen]
    process = Process(command, folder / "goldherd.log")
    process.read_line("ready iscsi://")
    return process, portals


def boot(folder: Path, portals: list[str]) -> str:
    """Boots the guest to its power-off; everything on its serial console."""
    system, kernel = fetch_system(), fetch_kernel()
    accel, serial = accelerator(kernel), folder / "serial.log"
    words = [f"portal{number}={portal}" for number, portal in enumerate(portals, start=1)]
    words += [f"target={TARGET}", f"initiator={INITIATOR}", "console=ttyS0", "quiet", "panic=-1"]
    words += ["tsc=unstable", "no_timer_check", "net.ifnames=0"]
    command = [
        *qemu(accel, serial, MEMORY_MIB),
        "-kernel",
        str(kernel.image),
        "-initrd",
        str(system / "initramfs"),
        "-append",
        " ".join(words),
        "-drive",
        f"file={system / 'root.ext4'},format=raw,if=virtio,snapshot=on",
    ]
    for number, network in enumerate(NETWORKS):
        command += ["-netdev", f"user,id=net{number},net={network}.0/24,host={network}.2,restrict=off"]
        command += ["-device", f"virtio-net-pci,netdev=net{number},romfile="]
    subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=True)
    return serial.read_text(errors="replace")


@pytest.fixture(scope="session")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Check to "" when it was fine, else to why it was not."""
    folder = tmp_path_factory.mktemp("guest")
    process, portals = serve(folder)
    try:
        console = boot(folder, portals)
    finally:
        status = process.stop()
    found: dict[str, str] = {"daemon_stops_in_good_order": "" if status == 0 else f"exit status {status}"}
    for line in console.splitlines():
        _, guest, said = line.partition("guest: ")
        word, _, rest = said.strip().partition(" ")
        if guest and word == "ok":
            found[rest] = ""
        elif guest and word == "failed":
            name, _, why = rest.partition(": ")
            found[name] = why or "no reason given"
    if "guest: done" not in console:
        found["guest_came_to_its_end"] = console[-4000:]
    print(console)
    return found
