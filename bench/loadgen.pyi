"""Signatures of loadgen.pyx: many iSCSI sessions at full queue depth from one thread without the GIL."""

from collections.abc import Sequence
from typing import NamedTuple

from bench.initiator import Session

class Result(NamedTuple):
    """What one run did."""

    commands: int
    """Answered within the run's time."""
    seconds: float
    """From the first command to the last answer that counted."""
    p50_us: float
    """Median latency of a command, within 6 %."""
    p99_us: float
    bytes_checked: int
    """Bytes of the image that were compared with what belongs there."""

class LoadError(Exception):
    """A session broke or lied; the text says how."""

class Load:
    """Sessions in the full feature phase and the loop that drives them."""

    def __init__(self, sessions: Sequence[Session]) -> None: ...
    def run(
        self,
        *,
        block_bytes: int,
        depth: int,
        seconds: float = 0,
        count_max: int = 0,
        write: bool = False,
        sequential: bool = False,
        check_all: bool = False,
        start_bytes: Sequence[int] | None = None,
    ) -> Result:
        """Reads or writes until `seconds` are over or each session did `count_max` commands.

        Args:
            block_bytes: per command; a multiple of 512.
            depth: commands in flight per session.
            seconds: the end; answers after it are awaited but not counted.
            count_max: commands per session, 0 for no bound.
            write: WRITE(10) of what belongs there instead of READ(10).
            sequential: each session from its own start onwards, else anywhere.
            check_all: compare every word that is read; else the first and last of each piece received.
            start_bytes: sequential: where each session begins; else they are spread over the image.

        Raises LoadError when a command fails, data are wrong or the target breaks the protocol.
        """
    def close(self) -> None:
        """Gives the sequence numbers back to the sessions, so that they can log out or be loaded again."""
