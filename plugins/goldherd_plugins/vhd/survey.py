"""What a VHD file holds, read and checked before anything is believed.

A survey never writes. It finds the footer (the end of the file decides; the copy at 0 helps only where a
guest can't have written it), the dynamic header and the BAT, and refuses what could not be served without
harm: tables outside the file, blocks that overlap each other or the file's own structures. Start reading at
survey().
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from goldherd.errors import ImageError

from goldherd_plugins.vhd import layout
from goldherd_plugins.vhd.layout import (
    DIFFERENCING,
    FIXED,
    FOOTER_BYTES,
    HEADER_BYTES,
    SECTOR,
    DynamicHeader,
    Footer,
)
from goldherd_plugins.vhd.left import LeftTables

Table = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Ends:
    """Which footer counts, and what is wrong with the other one."""

    footer: Footer
    footer_bytes: int
    """512, 511 for an old file, 0 when the tail is lost and the copy at 0 serves."""
    copy_stale: bool = False
    """The copy at 0 must be written again from the tail."""


@dataclass(frozen=True, slots=True)
class Survey:
    """One file, checked. `header` and `bat` are None for a fixed disk."""

    path: str
    file_bytes: int
    ends: Ends
    size_bytes: int
    header: DynamicHeader | None = None
    bat: Table | None = None
    taken_over: Table | None = None
    """Numbers of the blocks whose entries come from what a killed process left; None when it left nothing."""
    used_bytes: int = 0
    """Where the last block or structure ends."""
    relative_names: tuple[str, ...] = ()
    """The W2ru locators that can be read."""
    absolute_names: tuple[str, ...] = ()
    """The W2ku locators that can be read."""

    @property
    def footer(self) -> Footer:
        return self.ends.footer

    @property
    def kind(self) -> str:
        return layout.KINDS[self.footer.disk_type]

    @property
    def data_bytes(self) -> int:
        """The file without its trailing footer."""
        return self.file_bytes - self.ends.footer_bytes


def survey(fd: int, path: str, *, chs_size: bool = False, left: LeftTables | None = None) -> Survey:
    """Reads and checks the structures of an open VHD file.

    Args:
        fd: the file, readable.
        path: its name, for messages.
        chs_size: take the disk's size from the geometry, as old Virtual PC guests do, when that is smaller.
        left: what a killed process left of its tables; the file is judged with it.

    Raises:
        ImageError: it is no VHD, is damaged, or of a kind that is not served.
    """
    file_bytes = os.fstat(fd).st_size
    ends = find_footer(fd, path, file_bytes)
    footer = ends.footer
    layout.check_footer(footer, path)
    size_bytes = footer.current_size
    if chs_size and 0 < footer.geometry_bytes < size_bytes:
        size_bytes = footer.geometry_bytes
    if footer.disk_type == FIXED:
        missing = footer.current_size - (file_bytes - ends.footer_bytes)
        if missing > 0:
            raise _damaged(path, f"is a fixed VHD whose data is {missing} bytes short")
        return Survey(path, file_bytes, ends, size_bytes)

    end = file_bytes - ends.footer_bytes
    header = _read_header(fd, path, footer, end)
    bat, bat_end = _read_bat(fd, path, header, footer, end)
    taken_over = None
    if left is not None:
        bat, taken_over = left.over(bat)
    texts = dict(_locator_texts(fd, header, file_bytes, bat_end)) if footer.disk_type == DIFFERENCING else {}
    taken = [
        (0, FOOTER_BYTES),
        (footer.data_offset, footer.data_offset + HEADER_BYTES),
        (header.bat_offset, bat_end),
        *((entry.data_offset, _sectors_up(entry.data_offset + entry.data_length)) for entry in texts),
    ]
    used = max(stop for _, stop in taken)
    used = max(used, _check_blocks(path, bat, header.block_bytes, taken, end))
    names = {
        platform: tuple(
            text
            for entry, raw in texts.items()
            if entry.platform == platform and (text := layout.decode_locator(raw)) is not None
        )
        for platform in (layout.W2RU, layout.W2KU)
    }
    return Survey(
        path, file_bytes, ends, size_bytes, header, bat, taken_over, used, names[layout.W2RU], names[layout.W2KU]
    )


def find_footer(fd: int, path: str, file_bytes: int) -> Ends:
    """The footer that counts.

    The tail decides. The copy at 0 is taken only when there is no footer at the end at all and the copy says
    dynamic or differencing: on a fixed disk those bytes belong to the guest, who may forge a footer there.
    """
    head = _read(fd, 0, FOOTER_BYTES)
    tail = _read(fd, max(file_bytes - FOOTER_BYTES, 0), FOOTER_BYTES)
    copy = layout.parse_footer(head) if len(head) == FOOTER_BYTES else None
    if copy is not None and copy.disk_type == FIXED:
        copy = None
    if len(tail) == FOOTER_BYTES:
        for footer_bytes, raw in ((FOOTER_BYTES, tail), (layout.OLD_FOOTER_BYTES, tail[1:] + b"\0")):
            if (footer := layout.parse_footer(raw)) is not None:
                return Ends(footer, footer_bytes, _copy_is_stale(path, footer, copy))
            if raw.startswith(layout.COOKIE) and raw[60:64] == FIXED.to_bytes(4, "big"):
                copy = None
    if copy is None:
        raise ImageError(
            f"{path} is not a VHD, or a truncated or damaged one: its end holds no valid footer, and its "
            "beginning no copy of one that can be trusted. Take another copy, or say format=raw if it is "
            "a raw disk.",
            path=path,
        )
    return Ends(copy, 0)


def _copy_is_stale(path: str, tail: Footer, copy: Footer | None) -> bool:
    """Whether the copy at 0 must be renewed from the tail; ImageError when the two contradict each other."""
    if tail.disk_type == FIXED:
        return False
    if copy is None:
        return True
    if copy.raw == tail.raw:
        return False
    if _without_size(copy.raw) != _without_size(tail.raw):
        raise _damaged(path, "has two valid footers that contradict each other")
    return True


def _without_size(raw: bytes) -> bytes:
    """A footer without what a resize changes: current size, geometry (48 to 59) and checksum (64 to 67)."""
    return raw[:48] + raw[60:64] + raw[68:]


def _read_header(fd: int, path: str, footer: Footer, end: int) -> DynamicHeader:
    at = footer.data_offset
    if at % SECTOR or at < FOOTER_BYTES or at + HEADER_BYTES > end:
        raise _damaged(path, f"puts its dynamic header at byte {at}, where it can't be")
    return layout.parse_header(_read(fd, at, HEADER_BYTES), path)


def _read_bat(fd: int, path: str, header: DynamicHeader, footer: Footer, end: int) -> tuple[Table, int]:
    """The block allocation table in host order, and the byte after its last sector."""
    needed = -(-footer.current_size // header.block_bytes)
    if header.table_entries < needed:
        raise _damaged(path, f"has {header.table_entries} entries in its block table where its disk needs {needed}")
    bat_end = header.bat_offset + _sectors_up(4 * header.table_entries)
    header_end = footer.data_offset + HEADER_BYTES
    if header.bat_offset % SECTOR or header.bat_offset < FOOTER_BYTES or bat_end > end:
        raise _damaged(path, "has a block table that does not lie inside the file")
    if header.bat_offset < header_end and footer.data_offset < bat_end:
        raise _damaged(path, "has a block table that overlaps its header")
    raw = _read(fd, header.bat_offset, 4 * header.table_entries)
    return np.frombuffer(raw, dtype=">u4").astype(np.uint32), bat_end


def _locator_texts(
    fd: int, header: DynamicHeader, file_bytes: int, bat_end: int
) -> Iterator[tuple[layout.Locator, bytes]]:
    """The Unicode locators that lie in the file and on none of its tables; absurd ones are passed over."""
    for entry in header.locators:
        stop = entry.data_offset + entry.data_length
        if entry.platform not in (layout.W2RU, layout.W2KU) or not 0 < entry.data_length <= layout.LOCATOR_BYTES_MAX:
            continue
        if entry.data_offset < FOOTER_BYTES or stop > file_bytes:
            continue
        if entry.data_offset < bat_end and header.bat_offset < stop:
            continue
        yield entry, _read(fd, entry.data_offset, entry.data_length)


def _check_blocks(path: str, bat: Table, block_bytes: int, taken: list[tuple[int, int]], end: int) -> int:
    """The byte after the last block (0 without blocks); ImageError when blocks overlap anything or leave the
    file."""
    starts = np.sort(bat[bat != layout.UNUSED_BLOCK].astype(np.int64)) * SECTOR
    if not starts.size:
        return 0
    length = bitmap_bytes_of(block_bytes) + block_bytes
    if starts[-1] + length > end:
        raise _damaged(path, f"has a block at byte {starts[-1]} that does not end inside the file")
    if starts.size > 1 and np.diff(starts).min() < length:
        raise _damaged(path, "has two blocks in the same place")
    for begin, stop in taken:
        # The first block that ends behind `begin` must not begin before `stop`.
        index = int(np.searchsorted(starts, begin - length, side="right"))
        if index < starts.size and starts[index] < stop:
            raise _damaged(path, f"has a block at byte {starts[index]} that overlaps its own structures")
    return int(starts[-1]) + length


def bitmap_bytes_of(block_bytes: int) -> int:
    """The space of a block's sector bitmap, in whole sectors."""
    return _sectors_up(-(-block_bytes // SECTOR // 8))


def _sectors_up(count_bytes: int) -> int:
    return -(-count_bytes // SECTOR) * SECTOR


def _read(fd: int, offset: int, length: int) -> bytes:
    """Up to length bytes; fewer only at the end of the file."""
    data = b""
    while len(data) < length and (part := os.pread(fd, length - len(data), offset + len(data))):
        data += part
    return data


def _damaged(path: str, what: str) -> ImageError:
    return ImageError(f"{path} {what}. The file is damaged; restore it from a backup.", path=path)


def parent_names(found: Survey) -> tuple[str, ...]:
    """Every name that a differencing disk gives its parent, the surest first."""
    if found.header is None or found.footer.disk_type != DIFFERENCING:
        return ()
    return (*found.relative_names, *found.absolute_names, *filter(None, [found.header.parent_name]))
