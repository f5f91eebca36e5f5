"""Signatures of pool.pyx; compiled code alone calls it."""

from typing import Self

class Pool:
    """Threads over the jobs of many disks."""

    name: str
    @property
    def thread_count(self) -> int:
        """How many threads there are now."""

    def __new__(cls, name: str, thread_count: int, thread_count_max: int = 0) -> Self: ...
