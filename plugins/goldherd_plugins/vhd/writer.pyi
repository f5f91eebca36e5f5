"""Signatures of writer.pyx; everything else in it is called from compiled code."""

import numpy as np
import numpy.typing as npt

from goldherd_plugins.vhd.bat import BlockTable
from goldherd_plugins.vhd.bitmap import SectorBitmaps
from goldherd_plugins.vhd.pending import PendingTables

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
        pending: PendingTables | None = ...,
    ) -> None: ...
    def take_over(self, blocks: npt.NDArray[np.uint32], fd: int, words_at: int) -> None: ...
    @property
    def file_bytes(self) -> int: ...
