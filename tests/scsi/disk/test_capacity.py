"""READ CAPACITY and GET LBA STATUS."""

import pytest
from goldherd.block.image import Image

from tests.scsi.conftest import CountingImage


class LargeImage(Image):
    """2^32 + 1 blocks that nobody reads."""

    def __init__(self) -> None:
        super().__init__(((1 << 32) + 1) * 512)


def test_read_capacity_10(a) -> None:
    assert a.good("25").hex() == "00000fff00000200"


def test_read_capacity_10_of_a_large_unit_points_to_16(make_unit, initiator_on) -> None:
    initiator = initiator_on(make_unit(1, image=LargeImage()))
    assert initiator.good("25").hex() == "ffffffff00000200"
    assert initiator.good("9e 10 0000000000000000 00000008 00 00").hex() == "0000000100000000"


def test_read_capacity_10_with_an_lba_but_no_pmi(a) -> None:
    assert a.sense("25 00 00000001 0000 00 00") == "05/24/00"
    a.good("25 00 00000001 0000 01 00")


def test_read_capacity_16(a) -> None:
    assert a.good("9e 10 0000000000000000 00000020 00 00").hex() == "0000000000000fff000002000000c000" + 32 * "0"


def test_read_capacity_16_tells_the_physical_block(make_unit, initiator_on) -> None:
    initiator = initiator_on(make_unit(1, physical_block_size=4096))
    assert initiator.good("9e 10 0000000000000000 00000020 00 00")[13] == 3


def test_4096_byte_blocks(make_unit, initiator_on) -> None:
    initiator = initiator_on(make_unit(1, block_size=4096))
    assert initiator.good("25").hex() == "000001ff00001000"
    assert initiator.good("9e 10 0000000000000000 00000020 00 00")[13] == 0


def test_get_lba_status_of_a_mapped_unit(a) -> None:
    data = a.good("9e 12 0000000000000005 00000100 00 00")
    assert data.hex() == "0000001400000000000000000000000500000ffb00000000"


@pytest.mark.parametrize("lba", ["0000000000001000", "ffffffffffffffff"])
def test_get_lba_status_beyond_the_end(a, lba: str) -> None:
    assert a.sense(f"9e 12 {lba} 00000100 00 00") == "05/21/00"


class HoledImage(CountingImage):
    """Every second KiB is a hole, and each half of one is found by itself."""

    def extent_at(self, offset_bytes: int, length_bytes: int) -> tuple[int, bool]:
        return min(512, length_bytes), bool(offset_bytes & 1024)


@pytest.fixture
def holed(make_unit, initiator_on):
    return initiator_on(make_unit(1, image=HoledImage(64 * 512)))


def test_get_lba_status_joins_runs_of_one_state(holed) -> None:
    data = holed.good("9e 12 0000000000000001 00000028 00 00")
    assert data.hex() == ("00000024000000000000000000000001000000010000000000000000000000020000000201000000")


def test_get_lba_status_gives_one_descriptor_at_least(holed) -> None:
    assert len(holed.good("9e 12 0000000000000000 00000008 00 00")) == 8
    assert holed.good("9e 12 0000000000000000 00000004 00 00").hex() == "00000014"


def test_get_lba_status_ends_with_the_unit(holed) -> None:
    data = holed.good("9e 12 000000000000003f 00000100 00 00")
    assert data[8:].hex() == "000000000000003f0000000101000000"


def test_thick_unit_is_all_mapped(make_unit, initiator_on) -> None:
    initiator = initiator_on(make_unit(1, thin=False, image=HoledImage(64 * 512)))
    assert initiator.good("9e 12 0000000000000002 00000100 00 00")[8:].hex() == "00000000000000020000003e00000000"
