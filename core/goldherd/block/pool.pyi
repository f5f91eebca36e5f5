"""Signatures of pool.pyx; everything in it is called from compiled code."""

class Pool:
    """A fixed number of threads over one queue."""

    name: str
    thread_count: int
    def __init__(self, name: str, thread_count: int) -> None: ...
