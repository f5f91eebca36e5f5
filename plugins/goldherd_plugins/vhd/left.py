"""The tables that a killed process left in memory for a VHD: found when the file is opened, and laid over its own.

A file's table and bitmaps are those of the last flush. The memory (pending.pyx) holds all entries since the opening and
all bits, and both only ever come to be set; so what the two say together is right, however far a flush had got.
"""

import hashlib
import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from goldherd.errors import ImageError
from goldherd.files.outliving import HEADER_BYTES, Left, find

from goldherd_plugins.vhd import layout
from goldherd_plugins.vhd.layout import FIXED, FOOTER_BYTES

Table = npt.NDArray[np.uint32]
_WORDS_ALIGNMENT = 4096


def words_at(entries: int) -> int:
    """Where the sector bitmaps begin in such memory; the table lies between the header and them."""
    return -(-(HEADER_BYTES + 4 * entries) // _WORDS_ALIGNMENT) * _WORDS_ALIGNMENT


def size_of(entries: int, bitmap_words: int) -> int:
    """Bytes of the memory of a disk, its header included."""
    return words_at(entries) + 8 * bitmap_words


def identity_of(fd: int) -> bytes | None:
    """What tells a dynamic or differencing disk and its layout from all others: no writer changes the copy of its
    footer and its header. None: it is no such disk, or a damaged one."""
    copy = os.pread(fd, FOOTER_BYTES, 0)
    footer = layout.parse_footer(copy) if len(copy) == FOOTER_BYTES else None
    if footer is None or footer.disk_type == FIXED or footer.data_offset > os.fstat(fd).st_size:
        return None
    return hashlib.sha256(copy + os.pread(fd, layout.HEADER_BYTES, footer.data_offset)).digest()


@dataclass(frozen=True, slots=True)
class LeftTables:
    """The tables that a killed process left; its descriptor is the owner's."""

    memory: Left

    def slots(self, entries: int) -> Table:
        """The block table as far as it changed since the opening: sector numbers in host order, 0 for no change."""
        raw = os.pread(self.memory.descriptor, 4 * entries, HEADER_BYTES)
        if len(raw) != 4 * entries:
            raise ImageError("The memory that a killed process left is too short.")
        return np.frombuffer(raw, np.uint32)

    def over(self, bat: Table) -> tuple[Table, Table]:
        """The whole table, and the numbers of the blocks that the file's own lacks."""
        slots = self.slots(bat.size)
        both = (slots != 0) & (bat != layout.UNUSED_BLOCK)
        if (slots[both] != bat[both]).any():
            raise ImageError("The memory that a killed process left contradicts the file.")
        missing = (slots != 0) & (bat == layout.UNUSED_BLOCK)
        return np.where(missing, slots, bat), np.flatnonzero(missing).astype(np.uint32)


def find_left(fd: int, path: str, *, writable: bool) -> LeftTables | None:
    """What a killed process left for an open, locked file; None when nothing, or nothing that counts."""
    identity = identity_of(fd)
    if identity is None:
        return None
    memory = find(fd, path, identity, writable=writable)
    return None if memory is None else LeftTables(memory)
