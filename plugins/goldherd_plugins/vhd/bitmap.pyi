"""Signatures of bitmap.pyx; its look-ups are inline in bitmap.pxd."""

from goldherd_plugins.vhd.pending import PendingTables

def bitmap_words(blocks: int, block_bytes: int) -> int: ...

class SectorBitmaps:
    """The sector bitmaps of one open differencing disk."""

    blocks: int
    words_per_block: int
    sectors_per_block: int
    file_sectors_per_block: int
    def __init__(self, blocks: int, block_bytes: int, pending: PendingTables | None = ...) -> None: ...
    def run(self, block: int, first: int, end: int) -> tuple[int, bool]: ...
    def set(self, block: int, first: int, count: int) -> None: ...
    def sector(self, block: int, index: int) -> bytes: ...
