"""A second node, that must notice nothing: it reads 4 KiB of its golden disk again and again and judges every byte."""

import random
import statistics
import struct
import threading
import time
from collections.abc import Callable
from typing import Self

from tests.target.initiator import Session

BLOCKS = 8
"""512-byte blocks in 4 KiB."""
THRESHOLD_REACHED = (0x06, 0x38, 0x07)
"""UNIT ATTENTION, THIN PROVISIONING SOFT THRESHOLD REACHED: its own disk lies on the volume that gets full. Systems
repeat the command."""
PAUSE_SECONDS = 0.005
"""Between two reads: it looks, it does not load."""


class Bystander:
    """Reads in a thread of its own while the block runs; it is logged in before that begins.

    Args:
        log_in: makes a session on the node's disk.
        golden: what the disk holds.
    """

    def __init__(self, log_in: Callable[[], Session], golden: bytes) -> None:
        self._session: Session
        self._log_in, self._golden = log_in, golden
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, name="bystander")
        self.failure: str = ""
        """What it saw that it should not, "" when all was well."""
        self.seconds: list[float] = []
        """How long each read took."""

    def __enter__(self) -> Self:
        self._session = self._log_in()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _read(self) -> None:
        dice = random.Random(4)
        try:
            with self._session as session:
                while not self._over.wait(PAUSE_SECONDS):
                    lba = dice.randrange(len(self._golden) // 512 - BLOCKS)
                    begun = time.monotonic()
                    data = self._read_at(session, lba)
                    self.seconds.append(time.monotonic() - begun)
                    if data != self._golden[512 * lba : 512 * (lba + BLOCKS)]:
                        self.failure = f"wrong bytes at block {lba}"
        except Exception as failure:  # told by the test that looks at it
            self.failure = f"{type(failure).__name__}: {failure}"

    @staticmethod
    def _read_at(session: Session, lba: int) -> bytes:
        cdb = struct.pack(">BBIBH", 0x28, 0, lba, 0, BLOCKS)
        answer = session.command(cdb, read=512 * BLOCKS)
        if answer.status and answer.key == THRESHOLD_REACHED:
            answer = session.command(cdb, read=512 * BLOCKS)
        assert answer.status == 0, f"READ failed: {answer.key}"
        return answer.data

    def __str__(self) -> str:
        """The figures, in milliseconds."""
        percent = statistics.quantiles(self.seconds, n=100)
        return f"{len(self.seconds)} reads, p50 {1e3 * percent[49]:.2f} ms, p99 {1e3 * percent[98]:.2f} ms"
