"""A Linux node under load, that runs the guest's script `load`, seen from outside: it works, or it has ended."""

import re
import socket
import time
from pathlib import Path

from tests.boot.kernel import fetch_kernel
from tests.boot.machine import HOST, accelerator, qemu
from tests.guest.system import fetch_system
from tests.support.process import Process

MEMORY_MIB = 384
LOGIN_SECONDS_MAX = 240
END_SECONDS_MAX = 240


class NodeError(AssertionError):
    """A node that does not work, with the end of its console."""


class LoadedNode:
    """A virtual machine whose disk is a target; files are written and verified on it until finish().

    Args:
        folder: its own, for the console.
        port: where the daemon listens on 127.0.0.1.
        target, initiator: iSCSI names.
    """

    def __init__(self, folder: Path, port: int, target: str, initiator: str) -> None:
        folder.mkdir(parents=True)
        self._serial, orders = folder / "serial.log", folder / "orders"
        system, kernel = fetch_system(), fetch_kernel()
        words = ["run=load", f"portal1={HOST}:{port}", f"target={target}", f"initiator={initiator}"]
        words += ["console=ttyS0", "quiet", "panic=-1", "tsc=unstable", "no_timer_check", "net.ifnames=0"]
        command = [
            *qemu(accelerator(kernel), self._serial, MEMORY_MIB),
            *("-chardev", f"socket,id=orders,path={orders},server=on,wait=off", "-serial", "chardev:orders"),
            *("-kernel", str(kernel.image), "-initrd", str(system / "initramfs"), "-append", " ".join(words)),
            *("-drive", f"file={system / 'root.ext4'},format=raw,if=virtio,snapshot=on"),
            *("-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,romfile="),
        ]
        self._machine = Process(command, folder / "qemu.log")
        self._orders = orders

    @property
    def console(self) -> str:
        """All of the serial console so far."""
        return self._serial.read_text(errors="replace") if self._serial.exists() else ""

    @property
    def rounds(self) -> int:
        """Files written and brought to the disk so far."""
        numbers = re.findall(r"guest: round (\d+)", self.console)
        return int(numbers[-1]) if numbers else 0

    def await_rounds(self, more: int, seconds_max: float = LOGIN_SECONDS_MAX) -> None:
        """Returns when so many more rounds are done; NodeError when they don't come, or the guest says "failed"."""
        goal, deadline = self.rounds + more, time.monotonic() + seconds_max
        while self.rounds < goal:
            if time.monotonic() > deadline or not self._machine.running or "guest: failed" in self.console:
                raise NodeError(f"round {self.rounds}, not {goal}; the console ends with:\n{self.console[-4000:]}")
            time.sleep(0.1)

    def finish(self) -> dict[str, str]:
        """Ends the load; what the guest's checks then found: name to "" when all was well, else to the reason."""
        with socket.socket(socket.AF_UNIX) as orders:
            orders.connect(str(self._orders))
            orders.sendall(b"stop\n")
            deadline = time.monotonic() + END_SECONDS_MAX
            while self._machine.running and time.monotonic() < deadline:
                time.sleep(0.1)
        found: dict[str, str] = {}
        for kind, name, why in re.findall(r"guest: (ok|failed) (\w+):? ?([^\r\n]*)", self.console):
            found[name] = "" if kind == "ok" else why or "no reason given"
        if "guest: done" not in self.console:
            found["guest_came_to_its_end"] = self.console[-4000:]
        return found

    def switch_off(self) -> None:
        """Ends the machine if it still runs."""
        self._machine.stop()
