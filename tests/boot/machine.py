"""One diskless machine: QEMU with an empty bus, whose network card's iPXE gets a script by DHCP and TFTP.

The pitfalls this file steps around are real: a /dev/kvm that can't run a guest (so it is probed), a clock
that goes wrong under emulation and load (so `tsc=unstable`, in guest/syslinux.cfg, and -cpu Nehalem).
"""

import functools
import subprocess
import tempfile
from pathlib import Path

from tests.boot.kernel import Kernel

BOOT_SECONDS_MAX = 240
KVM_PROBE_SECONDS = 8
MEMORY_MIB = 192
HOST = "10.0.2.2"
"""The machine that runs QEMU, as its user network shows it to the guest."""


@functools.cache
def accelerator(kernel: Kernel) -> str:
    """ "kvm" if a kernel really boots with it here, else "tcg".

    The probe boots the kernel without any root: it says its version, panics and leaves.
    """
    with tempfile.TemporaryDirectory() as folder:
        serial = Path(folder) / "serial"
        command = [
            *qemu("kvm", serial),
            "-kernel",
            str(kernel.image),
            "-append",
            "console=ttyS0 panic=-1",
            "-nic",
            "none",
        ]
        try:
            subprocess.run(command, capture_output=True, timeout=KVM_PROBE_SECONDS, check=True)
        except (subprocess.SubprocessError, OSError):
            return "tcg"
        return "kvm" if "Linux version" in serial.read_text(errors="replace") else "tcg"


def qemu(accel: str, serial: Path, memory_mib: int = MEMORY_MIB) -> list[str]:
    """The command line of every guest."""
    cpu = "host" if accel == "kvm" else "Nehalem"
    return [
        "qemu-system-x86_64",
        "-accel",
        accel,
        "-cpu",
        cpu,
        "-smp",
        "1",
        "-m",
        str(memory_mib),
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-machine",
        "pc,graphics=off",
        "-serial",
        f"file:{serial}",
    ]


def ipxe_script(port: int, target: str, initiator: str, lun: int) -> str:
    """What a node's loader does: take this name, boot from that disk."""
    return "\n".join(
        (
            "#!ipxe",
            f"set initiator-iqn {initiator}",
            f"sanboot iscsi:{HOST}::{port}:{lun:x}:{target} || poweroff",
            "",
        )
    )


class BootError(AssertionError):
    """A machine that did not come up, with the end of its serial console."""


def boot(folder: Path, accel: str, script: str, mac: str) -> list[str]:
    """Boots one machine to its power-off and gives what its own system said, line by line.

    The whole serial console stays in folder/serial.log. Raises BootError with its end if the machine hangs,
    QEMU fails or the guest says "failed".
    """
    tftp = folder / "tftp"
    tftp.mkdir(parents=True, exist_ok=True)
    (tftp / "boot.ipxe").write_text(script)
    serial = folder / "serial.log"
    command = [
        *qemu(accel, serial),
        "-boot",
        "n",
        "-netdev",
        f"user,id=lan,tftp={tftp},bootfile=boot.ipxe",
        "-device",
        f"virtio-net-pci,netdev=lan,mac={mac},bootindex=1",
    ]
    trouble = ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BOOT_SECONDS_MAX, check=False)
        if done.returncode:
            trouble = f"QEMU ended with {done.returncode}: {done.stderr}"
    except subprocess.TimeoutExpired:
        trouble = f"The machine was still on after {BOOT_SECONDS_MAX} seconds."
    console = serial.read_text(errors="replace")
    said = [line.partition("guest: ")[2].strip() for line in console.splitlines() if "guest: " in line]
    failures = [line for line in said if line.startswith("failed")]
    if trouble or failures or "clean" not in said:
        raise BootError(f"{trouble} {failures} The console ({serial}) ends with:\n{console[-6000:]}")
    return said
