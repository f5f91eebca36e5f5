"""Is this file a VHD? Decided by what no guest can write, or not at all.

The guest of a raw disk writes every byte of its file, the last sector included, and could put a VHD footer there to
make the next export read another file as its "parent". So content alone never makes a file a VHD: its name must say
so. Where the content is a VHD's and the name is not, the administrator is asked (goldherd/formats.py).
"""

from pathlib import Path
from typing import Final

VHD_SUFFIXES: Final = frozenset({".vhd", ".avhd", ".vpc"})
"""Names that promise a VHD: if the content is none, opening says what is wrong with it."""


def is_vhd(path: Path) -> bool:
    """Whether a file's name promises a VHD."""
    return path.suffix.lower() in VHD_SUFFIXES
