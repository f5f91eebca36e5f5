"""Signatures of pending.pyx; everything else in it is called from compiled code."""

from goldherd.files.outliving import Made

from goldherd_plugins.vhd.left import LeftTables

class PendingTables:
    """The tables of one open disk in memory that outlives the process."""

    def __init__(self, made: Made, path: str, entries: int, bitmap_words: int) -> None: ...
    def publish(self, disk: int) -> None: ...
    def remove(self, disk: int) -> None: ...

def pending_tables(
    fd: int, path: str, entries: int, bitmap_words: int, left: LeftTables | None
) -> PendingTables | None: ...
