"""The medium of a logical unit: its image, the only way of all reads and writes that Python carries out, and
whether the image can be reached.

The data plane writes at two places of its own (session/commands.pyx: write_blocks, session/tasks.pyx: execute); both
mark watches as this file does. Knows no command and no nexus.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from goldherd.block.image import Image
from goldherd.errors import CommandError
from goldherd.scsi import sense as codes
from goldherd.scsi.fastpath.watch import Watch


class Medium:
    """An image as one logical unit uses it.

    Args:
        image: where the blocks live.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        self.lock = threading.RLock()
        """Held over a read-modify-write of blocks: one step against all other commands that Python carries out."""
        self.watches: tuple[Watch, ...] = ()
        self.on_watch: Callable[[tuple[Watch, ...]], None] | None = None
        """Called with all watches when their set has changed; when it returns, the data plane marks all of them."""
        self.ejected = False
        self.sanitize_progress: float | None = None
        """How far a running SANITIZE is, 0 to 1; None when none runs."""
        self.sanitize_failed = False
        self._condition = threading.Condition()
        self._writers = 0
        """Commands inside `writing`."""

    # --- blocks ---

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Bytes of the image. Raises ImageError or OSError."""
        return self.image.read(offset_bytes, length_bytes)

    def write(self, offset_bytes: int, data: memoryview) -> None:
        """Takes data into the image. Raises ImageError or OSError."""
        with self.lock:
            self._touch(offset_bytes, len(data))
            self.image.write(offset_bytes, data)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        """Makes a range of the image read as zeros. Raises ImageError or OSError."""
        with self.lock:
            self._touch(offset_bytes, length_bytes)
            self.image.discard(offset_bytes, length_bytes)

    def flush(self) -> None:
        """Brings all writes that were answered to stable storage; ImageError when it can't, as for ever after."""
        self.image.synchronize()

    # --- watches ---

    def watch(self, watch: Watch) -> None:
        """Writes mark the watch from now on; the caller holds `lock`, so that no write is under way in Python."""
        with self._condition:
            self._set_watches((*self.watches, watch))

    def unwatch(self, watch: Watch) -> None:
        """Writes no longer mark the watch."""
        with self._condition:
            self._set_watches(tuple(other for other in self.watches if other is not watch))

    def _set_watches(self, watches: tuple[Watch, ...]) -> None:
        self.watches = watches
        if self.on_watch is not None:
            self.on_watch(watches)

    def _touch(self, offset_bytes: int, length_bytes: int) -> None:
        for watch in self.watches:
            watch.touch(offset_bytes, length_bytes)

    # --- readiness ---

    @property
    def ready(self) -> bool:
        """Whether the medium can be reached."""
        return self.sanitize_progress is None and not self.sanitize_failed and not self.ejected

    def check_ready(self, *, to_sanitize: bool = False) -> None:
        """Raises CommandError while the medium can't be reached; a failed SANITIZE may be tried again."""
        if self.sanitize_progress is not None:
            raise CommandError("A sanitize operation runs.", sense=codes.SANITIZE_IN_PROGRESS)
        if self.sanitize_failed and not to_sanitize:
            raise CommandError("A sanitize operation failed.", sense=codes.SANITIZE_FAILED)
        if self.ejected:
            raise CommandError("The medium is ejected.", sense=codes.MEDIUM_NOT_PRESENT_TRAY_OPEN)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around a command that writes in steps. Raises CommandError when the medium can't be written now."""
        with self._condition:
            self.check_ready()
            self._writers += 1
        try:
            yield
        finally:
            with self._condition:
                self._writers -= 1
                self._condition.notify_all()

    def begin_sanitize(self) -> None:
        """No command enters `writing` from now on. Raises CommandError when the medium can't be sanitized now."""
        with self._condition:
            self.check_ready(to_sanitize=True)
            self.sanitize_progress = 0.0

    def wait_for_writers(self) -> None:
        """Returns when no command is inside `writing`; each of them calls `check_ready` at its next step."""
        with self._condition:
            self._condition.wait_for(lambda: self._writers == 0)

    def end_sanitize(self, *, failed: bool) -> None:
        """The medium is usable again, unless the operation failed."""
        with self._condition:
            self.sanitize_progress = None
            self.sanitize_failed = failed
