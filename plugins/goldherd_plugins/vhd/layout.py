"""The structures of a VHD 1.0 file, field by field: footer, dynamic header, parent locators.

Bytes in, records out, and back; no file is touched here. All integers are big endian, offsets are bytes.
Whoever looks for the rules about a whole file reads survey.py next.
"""

import struct
import time
import uuid
from dataclasses import dataclass
from typing import Final

from goldherd.errors import ImageError

FOOTER_BYTES: Final = 512
OLD_FOOTER_BYTES: Final = 511
"""Files from before Virtual PC 2004 end one (reserved, zero) byte early."""
HEADER_BYTES: Final = 1024
SECTOR: Final = 512
UNUSED_BLOCK: Final = 0xFFFFFFFF
"""BAT entry of a block that is not allocated."""
NO_OFFSET: Final = 0xFFFFFFFFFFFFFFFF
EPOCH: Final = 946684800
"""Time stamps count seconds from 2000-01-01 00:00:00 UTC; this is that instant in Unix time."""
VERSION: Final = 0x00010000

FIXED: Final = 2
DYNAMIC: Final = 3
DIFFERENCING: Final = 4
KINDS: Final = {FIXED: "fixed", DYNAMIC: "dynamic", DIFFERENCING: "differencing"}

DISK_BYTES_MAX: Final = 2040 << 30
"""2 TiB less 8 GiB: what 32-bit sector numbers leave for data beside BAT and bitmaps."""
BLOCK_BYTES_MAX: Final = 256 << 20
"""No writer makes larger blocks than 2 MiB; this keeps a bitmap within 64 KiB."""
LOCATOR_BYTES_MAX: Final = 65536

COOKIE: Final = b"conectix"
HEADER_COOKIE: Final = b"cxsparse"
W2RU: Final = b"W2ru"
W2KU: Final = b"W2ku"

_FOOTER = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427s")
_HEADER = struct.Struct(">8sQQIIII16sII512s192s256s")
_LOCATOR = struct.Struct(">4sIIIQ")
_CHECKSUM_AT = {FOOTER_BYTES: 64, HEADER_BYTES: 36}


@dataclass(frozen=True, slots=True)
class Footer:
    """The hard disk footer; `raw` are its 512 bytes, written again as they are to keep reserved fields."""

    raw: bytes
    features: int
    version: int
    data_offset: int
    time_stamp: int
    creator: bytes
    creator_version: int
    original_size: int
    current_size: int
    cylinders: int
    heads: int
    sectors_per_track: int
    disk_type: int
    unique_id: bytes
    saved_state: int

    @property
    def geometry_bytes(self) -> int:
        """The size that cylinders, heads and sectors give; usually a little below current_size."""
        return self.cylinders * self.heads * self.sectors_per_track * SECTOR


@dataclass(frozen=True, slots=True)
class Locator:
    """One parent locator entry: where a text lies that names the parent."""

    platform: bytes
    data_space: int
    data_length: int
    data_offset: int


@dataclass(frozen=True, slots=True)
class DynamicHeader:
    """The dynamic disk header, of dynamic and differencing disks."""

    bat_offset: int
    version: int
    table_entries: int
    block_bytes: int
    parent_id: bytes
    parent_time_stamp: int
    parent_name: str
    locators: tuple[Locator, ...]


def checksum(structure: bytes) -> int:
    """The one's complement of the sum of all bytes, those of the checksum field taken as zero."""
    at = _CHECKSUM_AT[len(structure)]
    return ~(sum(structure) - sum(structure[at : at + 4])) & 0xFFFFFFFF


def _with_checksum(structure: bytes) -> bytes:
    at = _CHECKSUM_AT[len(structure)]
    return structure[:at] + struct.pack(">I", checksum(structure)) + structure[at + 4 :]


def parse_footer(raw: bytes) -> Footer | None:
    """The footer in 512 bytes, or None when cookie or checksum say that it is none."""
    fields = _FOOTER.unpack(raw)
    if fields[0] != COOKIE or fields[14] != checksum(raw):
        return None
    return Footer(
        raw=raw,
        features=fields[1],
        version=fields[2],
        data_offset=fields[3],
        time_stamp=fields[4],
        creator=fields[5],
        creator_version=fields[6],
        original_size=fields[8],
        current_size=fields[9],
        cylinders=fields[10],
        heads=fields[11],
        sectors_per_track=fields[12],
        disk_type=fields[13],
        unique_id=fields[15],
        saved_state=fields[16],
    )


def check_footer(footer: Footer, path: str) -> None:
    """Raises ImageError for what we do not serve: other versions, types and sizes."""
    if footer.version >> 16 != VERSION >> 16:
        raise ImageError(
            f"{path} is a VHD of version {footer.version >> 16}.{footer.version & 0xFFFF}, and only "
            "version 1 is known. Convert it with the program that made it.",
            path=path,
        )
    if footer.disk_type not in KINDS:
        raise ImageError(
            f"{path} says it is a VHD of type {footer.disk_type}, which does not exist: only 2 (fixed), 3 "
            "(dynamic) and 4 (differencing) do. The file is damaged; take another copy.",
            path=path,
        )
    check_disk_size(footer.current_size, path)


def check_disk_size(size_bytes: int, path: str) -> None:
    """Raises ImageError for a size that no VHD can have."""
    if size_bytes <= 0 or size_bytes % SECTOR:
        raise ImageError(
            f"The VHD {path} would have {size_bytes} bytes, and a disk is made of whole sectors of 512. "
            "Take another size, or another copy if the file is damaged.",
            path=path,
        )
    if size_bytes > DISK_BYTES_MAX:
        raise ImageError(
            f"The VHD {path} would have {size_bytes} bytes, and a VHD has at most {DISK_BYTES_MAX} (2040 "
            "GiB). Take a smaller disk or another format.",
            path=path,
        )


def build_footer(disk_type: int, size_bytes: int, *, unique_id: bytes | None = None, creator: bytes = b"win ") -> bytes:
    """The 512 bytes of a new disk's footer.

    The creator is that of Windows: programs that guess the size from geometry for unknown creators then take
    the exact size. Both sizes are equal, for those that look at the original one.
    """
    cylinders, heads, sectors = geometry(size_bytes)
    return _with_checksum(
        _FOOTER.pack(
            COOKIE,
            2,
            VERSION,
            NO_OFFSET if disk_type == FIXED else FOOTER_BYTES,
            vhd_time(time.time()),
            creator,
            0x00060001,
            b"Wi2k",
            size_bytes,
            size_bytes,
            cylinders,
            heads,
            sectors,
            disk_type,
            0,
            unique_id or uuid.uuid4().bytes,
            0,
            bytes(427),
        )
    )


def vhd_time(unix_seconds: float) -> int:
    """A time stamp, kept within its 32 bits."""
    return min(max(int(unix_seconds) - EPOCH, 0), 0xFFFFFFFF)


def geometry(size_bytes: int) -> tuple[int, int, int]:
    """Cylinders, heads, sectors per track for a size: the algorithm of the format's appendix."""
    total = min(size_bytes // SECTOR, 65535 * 16 * 255)
    if total >= 65535 * 16 * 63:
        return total // 255 // 16, 16, 255
    sectors = 17
    tracks = total // sectors
    heads = max((tracks + 1023) // 1024, 4)
    if tracks >= heads * 1024 or heads > 16:
        sectors, heads = 31, 16
        tracks = total // sectors
    if tracks >= heads * 1024:
        sectors, heads = 63, 16
        tracks = total // sectors
    return tracks // heads, heads, sectors


def parse_header(raw: bytes, path: str) -> DynamicHeader:
    """The dynamic header in 1024 bytes, or ImageError: it has no second copy, so damage is final."""
    fields = _HEADER.unpack(raw)
    if fields[0] != HEADER_COOKIE or fields[6] != checksum(raw):
        raise ImageError(
            f"The dynamic header of {path} is damaged (its "
            f"{'cookie' if fields[0] != HEADER_COOKIE else 'checksum'} is wrong), and there is no second "
            "copy of it. Restore the file from a backup.",
            path=path,
        )
    version, entries, block_bytes = fields[3], fields[4], fields[5]
    if version >> 16 != VERSION >> 16:
        raise ImageError(
            f"The dynamic header of {path} has version {version >> 16}.{version & 0xFFFF}, and only "
            "version 1 is known. Convert the file with the program that made it.",
            path=path,
        )
    if not SECTOR <= block_bytes <= BLOCK_BYTES_MAX or block_bytes & (block_bytes - 1):
        raise ImageError(
            f"{path} has blocks of {block_bytes} bytes; they must be a power of two from 512 to "
            f"{BLOCK_BYTES_MAX}. The file is damaged; restore it from a backup.",
            path=path,
        )
    return DynamicHeader(
        bat_offset=fields[2],
        version=version,
        table_entries=entries,
        block_bytes=block_bytes,
        parent_id=fields[7],
        parent_time_stamp=fields[8],
        parent_name=decode_name(fields[10]),
        locators=tuple(
            Locator(platform, space, length, offset)
            for platform, space, length, _, offset in _LOCATOR.iter_unpack(fields[11])
            if platform != bytes(4)
        ),
    )


def build_header(
    size_bytes: int,
    block_bytes: int,
    bat_offset: int,
    *,
    parent_id: bytes = bytes(16),
    parent_time_stamp: int = 0,
    parent_name: str = "",
    locators: tuple[Locator, ...] = (),
) -> bytes:
    """The 1024 bytes of a new disk's dynamic header; the BAT has as many entries as the disk has blocks."""
    return _with_checksum(
        _HEADER.pack(
            HEADER_COOKIE,
            NO_OFFSET,
            bat_offset,
            VERSION,
            -(-size_bytes // block_bytes),
            block_bytes,
            0,
            parent_id,
            parent_time_stamp,
            0,
            parent_name.encode("utf-16-be"),
            b"".join(
                _LOCATOR.pack(entry.platform, entry.data_space, entry.data_length, 0, entry.data_offset)
                for entry in locators
            ),
            bytes(256),
        )
    )


def decode_name(raw: bytes) -> str:
    """The parent name field: UTF-16 big endian, but some writers stored it little endian.

    Latin text read the wrong way round has its bytes in the upper half of each unit, so a reading in which
    most units are multiples of 256 is taken the other way. A name that is no text is no name: it is only a
    hint.
    """
    units = struct.unpack(f">{len(raw) // 2}H", raw)
    end = units.index(0) if 0 in units else len(units)
    units = units[:end]
    swapped = sum(1 for unit in units if unit and unit & 0xFF == 0)
    encoding = "utf-16-le" if 2 * swapped > len(units) else "utf-16-be"
    try:
        return raw[: 2 * end].decode(encoding)
    except UnicodeDecodeError:
        return ""


def decode_locator(raw: bytes) -> str | None:
    """The text of a W2ru or W2ku locator, UTF-16 little endian; None when it is no usable text.

    Windows writes no NUL at the end, others count one in: trailing ones are dropped, inner ones refused.
    """
    if len(raw) % 2:
        return None
    try:
        text = raw.decode("utf-16-le").rstrip("\0")
    except UnicodeDecodeError:
        return None
    return text if text and "\0" not in text else None
