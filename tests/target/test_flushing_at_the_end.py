"""A server that ends flushes its disks while clients log out: no disk is closed while it is being flushed."""

import threading
from pathlib import Path

from goldherd import Image, hookimpl
from goldherd.app import OneTarget
from goldherd.hooks import BUILTIN, Hooks
from goldherd.model.targets import LunConfig, TargetConfig

from tests.target.initiator import Session, log_in
from tests.target.inprocess import INITIATOR, TARGET, serving


class SlowToFlush(Image):
    """A disk whose flush takes half a second, or until the disk is closed."""

    def __init__(self) -> None:
        super().__init__(size_bytes=1 << 20)
        self.flushing = self.flushed = 0
        self.closed_meanwhile = False
        self.closed = threading.Event()

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        target[:] = bytes(len(target))

    def write(self, offset_bytes: int, data: memoryview) -> None:
        pass

    def flush(self) -> None:
        self.flushing += 1
        self.closed.wait(0.5)
        self.flushing -= 1
        self.flushed += 1

    def close(self) -> None:
        self.closed_meanwhile = self.flushing > 0
        self.closed.set()


def leave_when_asked(session: Session) -> None:
    assert session.receive().header[36] == 1, "the target requests a logout (RFC 7143 11.9.1)"
    session.log_out()


def test_a_disk_whose_last_client_logs_out_is_closed_after_its_flush(tmp_path: Path) -> None:
    disk = SlowToFlush()

    class Plugin:
        @hookimpl
        def open_image(self, url: str) -> Image | None:
            return disk if url.startswith("slow:") else None

    hooks = Hooks(BUILTIN.items())
    assert hooks.register(Plugin(), "slow")
    directory = OneTarget(TargetConfig(TARGET, (LunConfig(0, str(tmp_path / "disk"), format="slow"),)))
    times = {"shutdown_seconds": 5, "shutdown_flush_seconds": 20, "flush_seconds": 60}
    with serving(tmp_path, directory=directory, hooks=hooks, rest={"linger_seconds": 0.01}, **times) as portal:
        session = log_in(portal, TARGET, INITIATOR).make_ready()
        client = threading.Thread(target=leave_when_asked, args=(session,))
        client.start()
    client.join(30)
    assert not client.is_alive()
    assert disk.closed.is_set() and disk.flushed
    assert not disk.closed_meanwhile
