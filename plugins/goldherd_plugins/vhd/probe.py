"""Is this file a VHD? Decided by what no guest can write, or not at all.

The guest of a raw disk writes every byte of its file, the last sector included, and could put a VHD footer
there to make the next export read another file as its "parent". So content alone never makes a file a VHD:
its name must say so too, and where name and content disagree the administrator is asked.
"""

import stat
from pathlib import Path

from goldherd.errors import ImageError

from goldherd_plugins.vhd import layout

VHD_SUFFIXES = frozenset({".vhd", ".avhd", ".vpc"})
"""Names that promise a VHD: if the content is none, opening says what is wrong with it."""
RAW_SUFFIXES = frozenset({".img", ".raw", ".bin", ".iso", ".dd"})
"""Names that promise a raw disk: its content is the guest's affair."""


def probe(path: Path, tail: bytes) -> str | None:
    """ "vhd" or None.

    Raises:
        ImageError: the file ends like a VHD, but its name does not tell whether it is one.
    """
    suffix = path.suffix.lower()
    if suffix in VHD_SUFFIXES:
        return "vhd"
    if suffix in RAW_SUFFIXES or not stat.S_ISREG(path.stat().st_mode) or not _ends_with_footer(tail):
        return None
    raise ImageError(
        f"{path} ends with the footer of a VHD, but a guest of a raw disk could have written that. Say "
        "format=vhd or format=raw, or give it the suffix .vhd or .img.",
        path=str(path),
    )


def _ends_with_footer(tail: bytes) -> bool:
    last = tail[-layout.FOOTER_BYTES :]
    return len(last) == layout.FOOTER_BYTES and (
        layout.parse_footer(last) is not None or layout.parse_footer(last[1:] + b"\0") is not None
    )
