"""Mode pages: defaults, the bits that an initiator may change, the current values of a unit (SPC-4 7.5, SBC-3 6.5).

Nothing is saved over a restart, so the saved values don't exist. The commands are in identification/mode.py.
"""

from dataclasses import dataclass
from typing import Final

CACHING: Final = (0x08, 0x00)
CONTROL: Final = (0x0A, 0x00)
RECOVERY: Final = (0x01, 0x00)
PROVISIONING: Final = (0x1C, 0x02)


@dataclass(frozen=True, slots=True)
class Page:
    """A mode page: its bytes as sent, and the bits MODE SELECT may change, byte for byte."""

    name: str
    code: int
    subpage: int
    default: bytes
    mask: bytes

    @property
    def header_bytes(self) -> int:
        """Bytes before the parameters; of them no bit can be changed."""
        return 4 if self.subpage else 2

    @property
    def changeable(self) -> bytes:
        """The page as PC=01b shows it: header, then the mask."""
        return self.default[: self.header_bytes] + self.mask[self.header_bytes :]


def _page(name: str, code: int, subpage: int, length: int, **fields: tuple[int, int]) -> Page:
    """A page of `length` parameter bytes; each field is byte_N=(default, changeable bits)."""
    header = bytes([0x40 | code, subpage, 0, length]) if subpage else bytes([code, length])
    default = bytearray(header + bytes(length))
    mask = bytearray(len(default))
    for field, (value, bits) in fields.items():
        position = int(field.removeprefix("byte_"))
        default[position], mask[position] = value, bits
    return Page(name, code, subpage, bytes(default), bytes(mask))


PAGES: Final = (
    # LBPERE: thresholds of thin provisioning are reported.
    _page("read-write error recovery", 0x01, 0, 0x0A, byte_7=(0x80, 0x80)),
    _page("disconnect-reconnect", 0x02, 0, 0x0E),
    # WCE: a write may be answered before it is on stable storage; SYNCHRONIZE CACHE and FUA say when it must
    # be.
    _page("caching", 0x08, 0, 0x12, byte_2=(0x04, 0x04)),
    # D_SENSE and GLTSD; unrestricted reordering; SWP; BUSY TIMEOUT PERIOD unlimited.
    _page(
        "control",
        0x0A,
        0,
        0x0A,
        byte_2=(0x02, 0x04),
        byte_3=(0x10, 0),
        byte_4=(0, 0x08),
        byte_8=(0xFF, 0),
        byte_9=(0xFF, 0),
    ),
    _page("control extension", 0x0A, 0x01, 0x1C),
    _page("power condition", 0x1A, 0, 0x26),
    # DEXCPT: no informational exceptions are reported.
    _page("informational exceptions control", 0x1C, 0, 0x0A, byte_2=(0x08, 0)),
    # One threshold, of the available space that decreases; it is enabled and counted by arm_threshold().
    _page("logical block provisioning", 0x1C, 0x02, 0x14, byte_17=(0x01, 0)),
)
"""In ascending order, as MODE SENSE gives them."""
BY_CODE = {(page.code, page.subpage): page for page in PAGES}


class ModePages:
    """The current values of one unit's pages."""

    def __init__(self) -> None:
        self._threshold: int | None = None
        self.reset()

    def reset(self) -> None:
        """Back to the defaults, as after power on."""
        self.values = {(page.code, page.subpage): page.default for page in PAGES}
        self.arm_threshold(self._threshold)

    def arm_threshold(self, count: int | None) -> None:
        """The soft threshold of the available space in threshold sets; None disables it. Whether it is reached, others
        say (SBC-3 6.5.8)."""
        self._threshold = count
        page = bytearray(BY_CODE[PROVISIONING].default)
        if count is not None:
            page[16] = 0x80  # ENABLED, soft, armed decreasing
            page[20:24] = count.to_bytes(4)
        self.values = {**self.values, PROVISIONING: bytes(page)}

    @property
    def reports_thresholds(self) -> bool:
        """LBPERE: whether a threshold that is reached becomes a unit attention."""
        return bool(self.values[RECOVERY][7] & 0x80)

    @property
    def write_cache(self) -> bool:
        """WCE: whether a write may be answered before it is on stable storage."""
        return bool(self.values[CACHING][2] & 0x04)

    @property
    def descriptor_sense(self) -> bool:
        """D_SENSE: whether sense data is in descriptor format."""
        return bool(self.values[CONTROL][2] & 0x04)

    @property
    def software_write_protect(self) -> bool:
        """SWP: whether a client has write protected the unit."""
        return bool(self.values[CONTROL][4] & 0x08)
