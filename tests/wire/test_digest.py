"""CRC32C as RFC 7143 13.1 and the examples of RFC 7143 B.4 have it, by the processor and by the table."""

import random
from collections.abc import Callable

import pytest
from goldherd.wire.digest import crc32c, crc32c_by_table

WAYS = pytest.mark.parametrize("way", [crc32c, crc32c_by_table])
EXAMPLES = {
    "zeros": (bytes(32), "aa36918a"),
    "ones": (b"\xff" * 32, "43aba862"),
    "rising": (bytes(range(32)), "4e79dd46"),
    "falling": (bytes(reversed(range(32))), "5cdb3f11"),
    "read10": (
        bytes.fromhex("01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018")
        + bytes.fromhex("28000000 00000000 02000000 00000000"),
        "563a96d9",
    ),
}


def bit_by_bit(data: bytes) -> int:
    """The sum as the polynomial defines it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@WAYS
@pytest.mark.parametrize(("data", "wire"), EXAMPLES.values(), ids=EXAMPLES)
def test_examples_of_the_standard(way: Callable[[bytes], int], data: bytes, wire: str) -> None:
    assert way(data).to_bytes(4, "little").hex() == wire


@WAYS
def test_check_value(way: Callable[[bytes], int]) -> None:
    assert way(b"123456789") == 0xE3069283


@WAYS
def test_every_short_length_at_every_alignment(way: Callable[[bytes], int]) -> None:
    data = random.Random(1).randbytes(80)
    for begin in range(8):
        for end in range(begin, begin + 70):
            assert way(data[begin:end]) == bit_by_bit(data[begin:end])


@pytest.mark.parametrize("length", [3071, 3072, 3073, 3080, 6143, 6144, 6151, 65536, 262144, 262147])
def test_interleaved_streams_join_to_the_same_sum(length: int) -> None:
    data = random.Random(length).randbytes(length)
    assert crc32c(data) == crc32c_by_table(data)


def test_a_sum_goes_on_where_it_stopped() -> None:
    data = random.Random(2).randbytes(10000)
    for cut in (0, 1, 48, 3072, 9999, 10000):
        assert crc32c(data[cut:], crc32c(data[:cut])) == crc32c(data)
