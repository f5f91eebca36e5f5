"""Images in which each 8-byte word, little endian, holds its own offset: a byte out of place shows.

python -m bench.pattern disk.raw --mib 64
"""

import argparse
import sys
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


def main(words_given: list[str]) -> int:
    """Writes a new image."""
    parser = argparse.ArgumentParser(prog="python -m bench.pattern", description="Writes a raw disk to measure with.")
    parser.add_argument("image", type=Path)
    parser.add_argument("--mib", type=int, default=64)
    options = parser.parse_args(words_given)
    write_pattern(options.image, options.mib << 20)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
