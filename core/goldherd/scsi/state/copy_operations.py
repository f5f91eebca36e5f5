"""A copy operation as its initiator may follow it: what RECEIVE COPY STATUS and its relatives tell (SPC-4 5.17.4).

Commands with a 32-bit list identifier have one each; the nexus keeps it (nexus.py). Knows no command.
"""

import enum
import threading
from dataclasses import dataclass, field

from goldherd.errors import Sense
from goldherd.scsi.sense import NO_SENSE


class Progress(enum.IntEnum):
    """COPY OPERATION STATUS (SPC-4 table 249)."""

    COMPLETED = 0x01
    FAILED = 0x02
    PARTIAL = 0x03
    """Without errors, but of the token less than was asked for."""
    FOREGROUND = 0x11
    BACKGROUND = 0x12
    TERMINATED = 0x60


@dataclass(slots=True, eq=False)
class CopyOperation:
    """One copy operation, under way or over.

    Written by the thread that carries it out, read by any. `transferred_blocks` counts blocks of the unit the
    command was sent to, without a gap from the first on.
    """

    action: int
    """The service action of the command that began it."""
    progress: Progress = Progress.FOREGROUND
    transferred_blocks: int = 0
    steps: int = 0
    sense: Sense = NO_SENSE
    token: bytes = b""
    """The ROD token it made."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set when nothing of it can reach a disk any more."""
    cancelled: bool = False
    _started: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def running(self) -> bool:
        """Whether the operation is still under way."""
        return self.progress in (Progress.FOREGROUND, Progress.BACKGROUND)

    def start(self) -> bool:
        """Called by the thread that carries the operation out; False when it was cancelled before a thread was free."""
        with self._lock:
            self._started = True
            return self.running

    def cancel(self) -> None:
        """Ends the operation: at its next step, or at once if no thread has begun with it."""
        with self._lock:
            self.cancelled = True
            if self.running and not self._started:
                self.end(Progress.TERMINATED)

    def end(self, progress: Progress, sense: Sense = NO_SENSE) -> None:
        """Notes how the operation ended; no other method is called afterwards."""
        self.sense = sense
        self.progress = progress
        self.over.set()
