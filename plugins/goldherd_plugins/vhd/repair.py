"""Mends the footers of a disk that is opened for writing, after a power cut or an interrupted resize.

Both footers of a dynamic or differencing disk hold the same bytes; one is enough to restore the other.
"""

import os

from goldherd.files.failed import sync_or_mark

from goldherd_plugins.vhd.layout import FIXED, FOOTER_BYTES, SECTOR
from goldherd_plugins.vhd.survey import Survey

_NOTHING_HIDDEN = b"win "
"""Windows and we keep nothing outside header, BAT, locators and blocks; others do (Xen's block map)."""


def repair(fd: int, found: Survey) -> bool:
    """Writes the footer that is lost or stale; True when it changed the file.

    A lost tail is written behind the last block, and what a power cut left there (space of blocks that never
    reached the BAT) is given back; where an unknown program might keep data, the file is not shortened.
    """
    if found.footer.disk_type == FIXED:
        return False
    raw = found.footer.raw
    if found.ends.footer_bytes == 0:
        end = found.used_bytes if found.footer.creator == _NOTHING_HIDDEN else found.file_bytes
        end = -(-end // SECTOR) * SECTOR
        os.ftruncate(fd, end + FOOTER_BYTES)
        os.pwrite(fd, raw, end)
        sync_or_mark(fd)
        return True
    if found.ends.copy_stale:
        os.pwrite(fd, raw, 0)
        sync_or_mark(fd)
        return True
    return False
