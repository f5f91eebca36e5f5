"""The language of fuzz_framing: how bytes are a program that talks to a data plane.

Every sequence of bytes is a program, so that whatever a mutation makes still does something:

    2 bytes     what the login agreed on: flags (Agreed), and a row of SIZES
    records     one byte: Kind in its low three bits, OTHER_CONNECTION, and four bits that the kind reads as it likes;
                then the kind's operands

Without help a fuzzer would never get past the first digest or the second CmdSN. So a PDU record holds a header as it
is to be sent, and says what is filled in for it: digests always (or wrong on purpose), numbers and tags if it asks.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self


class Agreed(IntEnum):
    """The first byte of a program."""

    HEADER_DIGEST = 1
    DATA_DIGEST = 2
    INITIAL_R2T = 4
    IMMEDIATE_DATA = 8
    TWO_CONNECTIONS = 16
    NEAR_WRAP = 32


SIZES: Final = (
    # max_send_data_segment, max_recv_data_segment, max_burst, first_burst
    (8192, 8192, 16384, 8192),
    (512, 512, 512, 512),
    (262144, 262144, 1048576, 262144),
    (1500, 16384, 65536, 4096),
    (65536, 131072, 262144, 65536),
    (512, 262144, 4096, 1024),
    (262144, 512, 131072, 65536),
    (4096, 65536, 1048576, 512),
)


class Kind(IntEnum):
    """The low three bits of a record."""

    PDU = 0
    RAW = 1
    """Bytes as they are; or one of the PDUs that have a number (records.TEMPLATES), with marks and a length."""
    TICK = 2
    AGAIN = 3
    ROOM = 4
    JOB = 5
    EVENT = 6
    CONTROL = 7


OTHER_CONNECTION: Final = 8


class Control(IntEnum):
    """What the control plane may do by itself, in the high bits of a Kind.CONTROL."""

    CLOSE = 0
    CLOSE_ONE = 1
    REINSTATE = 2
    JOIN = 3
    EXPECT = 4
    ABORT = 5
    ABORT_LOST = 6
    ABORT_ALL = 7
    ABORT_OLDER = 8
    ABORT_UNIT = 9
    DRAIN = 10
    DRAIN_WRITES = 11
    QUIESCE = 12
    RESUME = 13
    ASYNC = 14
    REDECLARE = 15


class Fill(IntEnum):
    """What a PDU record asks for, in the high bits of its first byte."""

    NUMBERED = 0x10
    """CmdSN: the next one."""
    TAGGED = 0x20
    """Data-Out: what the oldest R2T asks for next. Any other PDU: a fresh Initiator Task Tag."""
    LATER = 0x40
    """Goes out with what comes next on its connection."""
    MEASURED = 0x80
    """DataSegmentLength: that of the data behind the header, instead of what the header says."""


class Marks(IntEnum):
    """The second byte of a PDU record; its low three bits are a row of CUTS."""

    LATER = 0x10
    """As Fill.LATER."""
    TOO_MUCH = 0x20
    """Data-Out that an R2T has asked for may be longer than that."""
    BAD_HEADER_DIGEST = 0x40
    BAD_DATA_DIGEST = 0x80


CUTS: Final = (0, 1, 4, 5, 48, 512, 4096, 60000)
"""Bytes at the end of a PDU that go out later."""
AGAIN: Final = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 100, 130, 200)
"""How often the PDU before is sent once more; 0: the connection is lost instead."""
ROOMS: Final = (None, 0, 1, 47, 48, 49, 100, 512, 600, 5000, 8192, 8240, 70000, 262144, 300000, None)


@dataclass(frozen=True)
class Sending:
    """A PDU record."""

    op: int
    marks: int
    length: int
    header: bytes
    additional: bytes

    @classmethod
    def of(cls, record: bytes) -> Self:
        """The PDU of a record that has no additional headers."""
        return cls(record[0] & 0xF0, record[1], number_of(record[2:4]), record[4:52], b"")


def number_of(length: bytes) -> int:
    """A length of data: above 32767 in units of 16 bytes."""
    count = int.from_bytes(length, "big")
    return (count & 0x7FFF) << 4 if count & 0x8000 else count


class Input:
    """Bytes to read from; at their end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def bytes(self, count: int) -> bytes:
        """The next bytes."""
        part = self._data[self._at : self._at + count]
        self._at += count
        return part.ljust(count, b"\0")

    def number(self, count: int = 1) -> int:
        """The next bytes as a number."""
        return int.from_bytes(self.bytes(count), "big")
