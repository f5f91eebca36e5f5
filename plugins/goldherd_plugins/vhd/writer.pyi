"""Signatures of writer.pyx; everything else in it is called from compiled code."""

from goldherd_plugins.vhd.bat import BlockTable
from goldherd_plugins.vhd.bitmap import SectorBitmaps

class Writer:
    """Allocation and flush of one disk that is open for writing."""

    def __init__(
        self,
        fd: int,
        table: BlockTable,
        bitmaps: SectorBitmaps | None,
        *,
        block_bytes: int,
        bitmap_bytes: int,
        file_bytes: int,
        footer: bytes,
    ) -> None: ...
    @property
    def file_bytes(self) -> int: ...
