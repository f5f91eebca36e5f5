"""Block table and sector bitmaps: look-ups by runs against a plain model."""

import numpy as np
import pytest
from goldherd_plugins.vhd.bat import BlockTable
from goldherd_plugins.vhd.bitmap import SectorBitmaps
from hypothesis import given
from hypothesis import strategies as st

runs = st.lists(st.tuples(st.integers(0, 1023), st.integers(1, 300)), max_size=12)


@given(runs, st.integers(0, 1023), st.integers(1, 1024))
def test_a_run_is_as_long_as_the_bits_are_equal(changes: list[tuple[int, int]], first: int, length: int) -> None:
    bitmaps = SectorBitmaps(3, 1024 * 512)
    model = [False] * 1024
    for start, count in changes:
        count = min(count, 1024 - start)
        bitmaps.set(1, start, count)
        model[start : start + count] = [True] * count
    end = min(first + length, 1024)
    expected = 1
    while first + expected < end and model[first + expected] == model[first]:
        expected += 1
    assert bitmaps.run(1, first, end) == (expected, model[first])
    assert bitmaps.run(0, 0, 1024) == (1024, False)
    assert bitmaps.run(2, 0, 1024) == (1024, False)


@given(st.sets(st.integers(0, 4095)))
def test_the_file_has_the_most_significant_bit_first(sectors: set[int]) -> None:
    bitmaps = SectorBitmaps(1, 2 << 20)
    expected = bytearray(512)
    for sector in sectors:
        bitmaps.set(0, sector, 1)
        expected[sector >> 3] |= 0x80 >> (sector & 7)
    assert bitmaps.sector(0, 0) == expected


@pytest.mark.parametrize(("block_bytes", "sectors"), [(512, 1), (4096, 1), (512 << 10, 1), (2 << 20, 1), (16 << 20, 8)])
def test_a_bitmap_takes_whole_sectors(block_bytes: int, sectors: int) -> None:
    bitmaps = SectorBitmaps(2, block_bytes)
    assert bitmaps.file_sectors_per_block == sectors
    bitmaps.set(1, block_bytes // 512 - 1, 1)
    last = bitmaps.sector(1, sectors - 1)
    bit = block_bytes // 512 - 1 - (sectors - 1) * 4096
    assert last[bit >> 3] == 0x80 >> (bit & 7)


def test_the_table_is_big_endian_and_padded_with_ones() -> None:
    table = BlockTable(np.array([0xFFFFFFFF, 15, 0x01020304], dtype=np.uint32), 1536)
    assert table.sector(0) == b"\xff" * 4 + bytes([0, 0, 0, 15, 1, 2, 3, 4]) + b"\xff" * 500
    assert (table.entries, table.allocated, table.offset) == (3, 2, 1536)
    assert [table.place(block) for block in range(3)] == [None, 15 * 512, 0x01020304 * 512]
