"""Images in which each 8-byte word, little endian, holds its own offset: a byte out of place shows."""

from pathlib import Path

import numpy

CHUNK_BYTES = 1 << 24


def words(offset_bytes: int, length_bytes: int) -> bytes:
    """What belongs in that range; both are multiples of 8."""
    return numpy.arange(offset_bytes, offset_bytes + length_bytes, 8, dtype="<u8").tobytes()


def write_pattern(path: Path, size_bytes: int) -> Path:
    """Makes the image, and by that puts it into the page cache."""
    with path.open("wb") as file:
        for offset in range(0, size_bytes, CHUNK_BYTES):
            file.write(words(offset, min(CHUNK_BYTES, size_bytes - offset)))
    return path
