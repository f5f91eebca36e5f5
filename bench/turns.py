"""Rounds that two processes measure in turn: what one of them and what the conductor say to each other.

A line each: the process says `case CALLS NAME` when a case is warm, the conductor answers with the number of calls of a
round, or 0 when it wants no more of this case, and the process answers each number with the nanoseconds of that round.
"""

import gc
import time
from collections.abc import Callable
from typing import Protocol


class Stream(Protocol):
    """A socket as a file."""

    def readline(self) -> bytes:
        """The next line; empty at the end."""
        ...

    def write(self, data: bytes, /) -> int:
        """Takes some bytes to be sent."""
        ...

    def flush(self) -> None:
        """Sends them."""
        ...

    def close(self) -> None:
        """Hangs up."""
        ...


class Turns:
    """The side of the process that measures."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def take(self, case: str, work: Callable[[], object], iterations: int) -> None:
        """Does rounds of a case for as long as the conductor asks for them."""
        self._say(f"case {iterations} {case}")
        gc.collect()
        gc.disable()
        try:
            while calls := int(self._stream.readline()):
                start = time.process_time_ns()
                for _ in range(calls):
                    work()
                self._say(str(time.process_time_ns() - start))
        finally:
            gc.enable()

    def _say(self, line: str) -> None:
        self._stream.write(line.encode() + b"\n")
        self._stream.flush()
