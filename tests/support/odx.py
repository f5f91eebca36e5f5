"""Parameter lists of offloaded copies, and what their answers say (SBC-3 5.12, 5.25, 5.59), written for the tests."""

from typing import NamedTuple

ZERO_TOKEN = bytes.fromhex("ffff0001000001f8") + bytes(504)


def ranges_of(ranges: list[tuple[int, int]]) -> bytes:
    """Block device range descriptors of (LBA, blocks)."""
    return b"".join(lba.to_bytes(8) + count.to_bytes(4) + bytes(4) for lba, count in ranges)


def populate(ranges: list[tuple[int, int]], *, flags: int = 0, timeout: int = 0, kind: int = 0) -> bytes:
    """The list of POPULATE TOKEN."""
    descriptors = ranges_of(ranges)
    return (
        (len(descriptors) + 14).to_bytes(2)
        + bytes([flags, 0])
        + timeout.to_bytes(4)
        + kind.to_bytes(4)
        + bytes(2)
        + len(descriptors).to_bytes(2)
        + descriptors
    )


def write_using(token: bytes, ranges: list[tuple[int, int]], *, offset: int = 0, flags: int = 0) -> bytes:
    """The list of WRITE USING TOKEN."""
    descriptors = ranges_of(ranges)
    return (
        (len(descriptors) + 534).to_bytes(2)
        + bytes([flags])
        + bytes(5)
        + offset.to_bytes(8)
        + token
        + bytes(6)
        + len(descriptors).to_bytes(2)
        + descriptors
    )


def cdb(action: int, list_identifier: int, length: int) -> str:
    """83h with a list identifier and a parameter list length, in hex."""
    return f"83 {action:02x} 00000000 {list_identifier:08x} {length:08x} 00 00"


def receive(action: int, list_identifier: int, length: int = 0x1000) -> str:
    """84h with a list identifier and an allocation length, in hex."""
    return f"84 {action:02x} {list_identifier:08x} 00000000 {length:08x} 00 00"


class Information(NamedTuple):
    """RECEIVE ROD TOKEN INFORMATION, taken apart."""

    action: int
    progress: int
    delay: int
    status: int
    sense: bytes
    blocks: int
    token: bytes


def information(data: bytes) -> Information:
    """Takes the parameter data apart; its lengths must fit each other."""
    assert int.from_bytes(data[0:4]) == len(data) - 4
    assert data[13] % 4 == 0
    assert data[14] <= data[13]
    assert data[15] == 0xF1
    assert data[24:32] == bytes(8)
    end = 32 + data[13]
    descriptors = data[end + 4 :]
    assert int.from_bytes(data[end : end + 4]) == len(descriptors)
    return Information(
        data[4],
        data[5],
        int.from_bytes(data[8:12]),
        data[12],
        data[32 : 32 + data[14]],
        int.from_bytes(data[16:24]),
        descriptors[2:],
    )
