"""A disk whose every door is shut until the test opens it."""

import threading

from goldherd.block.memory import MemoryImage


class GateImage(MemoryImage):
    """Reads, writes and flushes wait on a pool thread for open()."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self._arrived, self._opened = threading.Event(), threading.Event()

    def wait_for_guest(self) -> None:
        """Until somebody stands at the gate."""
        assert self._arrived.wait(30)

    def open(self) -> None:
        """Everybody may pass from now on."""
        self._opened.set()

    def open_soon(self) -> None:
        """Opens while the caller is doing something else."""
        threading.Timer(0.05, self.open).start()

    def _pass(self) -> None:
        self._arrived.set()
        assert self._opened.wait(30)

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        self._pass()
        super().read_into(offset_bytes, target)

    def write(self, offset_bytes: int, data: memoryview) -> None:
        self._pass()
        super().write(offset_bytes, data)

    def flush(self) -> None:
        self._pass()
        super().flush()
