"""The field of an attack: one server, the node under attack, a bystander, and what must still be true afterwards.

The server is the real one, three nodes over one golden image. The attacker uses the first node, or none; the
bystander holds a session of the second from the beginning on and reads what it knows to be there.
"""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.hostile.client import Client
from tests.support.targets import GoldherdHerd

NODE, BYSTANDER, WRITTEN = "pc-1", "pc-2", "pc-5"
"""Under attack; reads all the time; under attack too, but no case leaves a reservation or an erased disk there."""
BLOCK_BYTES: Final = 512
DISK_BLOCKS: Final = 65536
DISK_BYTES: Final = DISK_BLOCKS * BLOCK_BYTES
READ_BLOCKS: Final = 8
CHAP_USER, CHAP_SECRET = "attacked", "sixteen byte key"
CHAP_NODE: Final = "pc-4"
CONNECTIONS: Final = 8
"""What one session may have, if it asks for them."""
SECONDS_MAX: Final = 20.0
DESCRIPTORS_SPARE: Final = 16
"""Files and sockets that may come and go by themselves (disks of targets that linger)."""


def pattern(lba: int, blocks: int) -> bytes:
    """What the golden image holds: each 8-byte word is its own offset."""
    start = lba * BLOCK_BYTES
    return b"".join(offset.to_bytes(8, "little") for offset in range(start, start + blocks * BLOCK_BYTES, 8))


class Field:
    """A running herd and its bystander.

    Args:
        folder: where images, catalog and log are.
    """

    def __init__(self, folder: Path) -> None:
        golden = folder / "golden.raw"
        golden.write_bytes(pattern(0, DISK_BLOCKS))
        secret = folder / "secret"
        secret.write_text(CHAP_SECRET)
        secret.chmod(0o600)
        self.herd = GoldherdHerd(golden, "pc-[1-3,5]", folder, options=("--connections-max", str(CONNECTIONS)))
        chap = ("--chap-user", CHAP_USER, "--chap-secret-file", secret)
        self.herd.command("node", "add", CHAP_NODE, "--image", "lab", *chap)
        self.herd.serve()
        self.portal = (self.herd.portal.host, self.herd.portal.port)
        self.log = folder / "goldherd.log"
        self._sources = itertools.count(1)
        self._isids = itertools.count(0x00023D100000)
        self._looks = itertools.count()
        self.bystander = self.enter(BYSTANDER)

    def close(self) -> int:
        """Ends the server; its exit status."""
        self.bystander.socket.close()
        return self.herd.stop()

    # --- connections ---

    def source(self) -> str:
        """An address of 127/8 that nobody came from yet."""
        number = next(self._sources)
        return f"127.1.{number >> 8 & 255}.{number & 255}"

    def connect(self, source: str | None = None, receive_bytes: int | None = None) -> Client:
        """A connection before its login."""
        return Client(self.portal, source or self.source(), receive_bytes)

    def enter(
        self, node: str = NODE, source: str | None = None, receive_bytes: int | None = None, **keys: str
    ) -> Client:
        """A session in full feature phase, under an ISID nobody used yet."""
        client = self.connect(source, receive_bytes)
        client.enter(self.herd.initiator(node), self.herd.iqn(node), isid=next(self._isids), **keys)
        client.settle_attentions()
        return client

    def join(self, first: Client, cid: int, node: str = NODE, receive_bytes: int | None = None) -> Client:
        """One more connection of a session; its numbering goes on where the first connection's stands."""
        client = self.connect(receive_bytes=receive_bytes)
        client.cmd_sn, client.itt = first.cmd_sn, 0x10000 * (cid + 1)
        client.join(self.herd.initiator(node), self.herd.iqn(node), first, cid)
        return client

    # --- what must be true ---

    def check_unhurt(self) -> None:
        """The process lives, the bystander reads what it always read, a fresh login is served."""
        assert self.herd.process is not None and self.herd.process.running, "the server has ended"
        lba = next(self._looks) * 4099 % (DISK_BLOCKS - READ_BLOCKS)
        expected = pattern(lba, READ_BLOCKS)
        assert self.bystander.read(lba, READ_BLOCKS) == expected, "the bystander read something else"
        with self.enter(NODE) as fresh:
            assert not fresh.until_pong()
        with self.enter("pc-3") as fresh:
            assert fresh.read(lba, READ_BLOCKS) == expected, "a fresh session read something else"

    @property
    def memory_bytes(self) -> int:
        """Resident memory of the server now."""
        return self._status("VmRSS")

    @property
    def memory_bytes_max(self) -> int:
        """The most it ever was since `forget_memory_max`."""
        return self._status("VmHWM")

    def forget_memory_max(self) -> None:
        """Begins to watch the maximum anew (proc_pid_clear_refs: 5)."""
        Path(f"/proc/{self.herd.pid}/clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self.herd.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"/proc has no {name}")

    @property
    def descriptors(self) -> int:
        """Open files and sockets of the server."""
        return len(list(Path(f"/proc/{self.herd.pid}/fd").iterdir()))


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Returns as soon as it is true; AssertionError if it does not come about."""
    deadline = time.monotonic() + SECONDS_MAX
    while not true():
        assert time.monotonic() < deadline, f"not within {SECONDS_MAX:g} s: {what}"
        time.sleep(0.02)
