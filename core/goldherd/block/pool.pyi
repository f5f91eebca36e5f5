"""Signatures of pool.pyx; compiled code alone calls it."""

from typing import Self

class Pool:
    """A fixed number of threads over one queue."""

    name: str
    thread_count: int
    def __new__(cls, name: str, thread_count: int) -> Self: ...
