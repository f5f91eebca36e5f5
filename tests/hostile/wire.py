"""PDUs as an attacker writes them: every field may hold anything (RFC 7143 section 11).

Deliberately not the code under test: `pdu` checks nothing, so that lengths can lie and reserved bits be set.
"""

from dataclasses import dataclass
from typing import Final

BHS_BYTES: Final = 48
NO_TAG: Final = 0xFFFFFFFF
IMMEDIATE: Final = 0x40
FINAL: Final = 0x80

NOP_OUT, COMMAND, TASK_MANAGEMENT, LOGIN, TEXT, DATA_OUT, LOGOUT, SNACK = 0, 1, 2, 3, 4, 5, 6, 0x10
NOP_IN, RESPONSE, LOGIN_RESPONSE, TEXT_RESPONSE, DATA_IN = 0x20, 0x21, 0x23, 0x24, 0x25
R2T, ASYNC, REJECT = 0x31, 0x32, 0x3F

READ_BIT: Final = 0x40
WRITE_BIT: Final = 0x20

FIELDS: Final = {
    "byte1": (1, 1),
    "byte2": (2, 1),
    "byte3": (3, 1),
    "lun": (8, 8),
    "isid": (8, 6),
    "tsih": (14, 2),
    "itt": (16, 4),
    "ttt": (20, 4),
    "referenced_tag": (20, 4),
    "edtl": (20, 4),
    "cid": (20, 2),
    "cmd_sn": (24, 4),
    "exp_stat_sn": (28, 4),
    "ref_cmd_sn": (32, 4),
    "data_sn": (36, 4),
    "buffer_offset": (40, 4),
    "beg_run": (40, 4),
    "run_length": (44, 4),
}
"""Where the fields of all requests lie: (offset, bytes). Names of different PDUs share places."""


def pdu(
    opcode: int,
    data: bytes = b"",
    *,
    flags: int = FINAL,
    cdb: bytes = b"",
    ahs: bytes = b"",
    ahs_words: int | None = None,
    length: int | None = None,
    **fields: int,
) -> bytes:
    """One PDU without digests, padded; `length` and `ahs_words` are what it claims instead of the truth."""
    header = bytearray(BHS_BYTES)
    header[0] = opcode
    header[1] = flags
    header[4] = len(ahs) // 4 if ahs_words is None else ahs_words
    header[5:8] = (len(data) if length is None else length).to_bytes(3, "big")
    for name, value in fields.items():
        at, size = FIELDS[name]
        header[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "big")
    if cdb:
        header[32:48] = cdb[:16].ljust(16, b"\0")
    return bytes(header) + ahs + data + bytes(-len(data) % 4)


def text(**keys: str) -> bytes:
    """key=value pairs, each closed by NUL."""
    return b"".join(f"{key}={value}\0".encode() for key, value in keys.items())


@dataclass(frozen=True, slots=True)
class Answer:
    """One PDU of the target."""

    header: bytes
    data: bytes

    @property
    def opcode(self) -> int:
        """The opcode."""
        return self.header[0] & 0x3F

    def field(self, name: str) -> int:
        """A field by its name in FIELDS."""
        at, size = FIELDS[name]
        return int.from_bytes(self.header[at : at + size], "big")

    @property
    def login_status(self) -> int:
        """Status class and detail of a Login Response, e.g. 0x0201."""
        return int.from_bytes(self.header[36:38], "big")

    @property
    def reason(self) -> int:
        """The reason of a Reject."""
        return self.header[2]

    @property
    def sense(self) -> tuple[int, int, int]:
        """Sense key, ASC and ASCQ of a SCSI Response; zeros without sense data."""
        sense = self.data[2:]
        if len(sense) < 4:
            return 0, 0, 0
        if sense[0] & 0x7F >= 0x72:
            return sense[1] & 0x0F, sense[2], sense[3]
        return sense[2] & 0x0F, sense[12], sense[13]


def cdb_read10(lba: int, blocks: int) -> bytes:
    """READ(10)."""
    return bytes([0x28, 0]) + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + b"\0"


def cdb_write10(lba: int, blocks: int) -> bytes:
    """WRITE(10)."""
    return bytes([0x2A, 0]) + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + b"\0"


def cdb_read16(lba: int, blocks: int) -> bytes:
    """READ(16)."""
    return bytes([0x88, 0]) + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + bytes(2)
