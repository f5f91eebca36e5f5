"""Signatures of bat.pyx; its look-ups are inline in bat.pxd."""

import numpy as np
import numpy.typing as npt

class BlockTable:
    """The block allocation table of one open disk."""

    entries: int
    offset: int
    allocated: int
    def __init__(self, bat: npt.NDArray[np.uint32], offset: int) -> None: ...
    def place(self, block: int) -> int | None: ...
    def sector(self, index: int) -> bytes: ...
