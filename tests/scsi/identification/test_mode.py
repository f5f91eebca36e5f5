"""MODE SENSE and MODE SELECT."""

import pytest
from goldherd.scsi.fastpath.unit import NexusFlag
from goldherd.scsi.identification.mode import PAGES

CACHING, CONTROL = bytes.fromhex("0812 04") + bytes(17), bytes.fromhex("0a0a 02 10 00 00 0000 ffff 0000")


def select(page: bytes, *, long: bool = False, flags: str = "10") -> tuple[str, bytes]:
    data = bytes(8 if long else 4) + page
    return (f"55 {flags} 0000000000 {len(data):04x} 00" if long else f"15 {flags} 0000 {len(data):02x} 00"), data


def control(byte: int, value: int) -> bytes:
    page = bytearray(CONTROL)
    page[byte] = value
    return bytes(page)


WCE_OFF = bytes.fromhex("0812") + bytes(18)
SWP_ON = control(4, 0x08)
D_SENSE_ON = control(2, 0x06)


def test_mode_sense_6_of_all_pages(a) -> None:
    data = a.good("1a 00 3f 00 ff 00")
    assert data[0] == len(data) - 1
    assert data[1:4].hex() == "001008"  # type, DPOFUA, 8 bytes of block descriptor
    assert data[4:12].hex() == "0000100000000200"
    assert data[12:] == b"".join(page.default for page in PAGES if not page.subpage)


def test_mode_sense_10_of_all_pages_and_subpages(a) -> None:
    data = a.good("5a 00 3f ff 000000 ffff 00")
    assert int.from_bytes(data[0:2]) == len(data) - 2
    assert data[2:8].hex() == "001000000008"
    assert data[16:] == b"".join(page.default for page in PAGES)


def test_mode_sense_10_with_long_block_descriptor(a) -> None:
    data = a.good("5a 10 08 00 000000 ffff 00")
    assert data[2:8].hex() == "001001000010"  # LONGLBA
    assert data[8:24].hex() == "00000000000010000000000000000200"


@pytest.mark.parametrize(("cdb", "header"), [("1a 08 08 00 ff 00", 4), ("5a 08 08 00 000000 ffff 00", 8)])
def test_disable_block_descriptors(a, cdb: str, header: int) -> None:
    assert a.good(cdb)[header:] == CACHING


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_page_by_itself(a, page) -> None:
    for code, wanted in ((0x00, page.default), (0x40, page.changeable), (0x80, page.default)):
        assert a.good(f"1a 08 {code | page.code:02x} {page.subpage:02x} ff 00")[4:] == wanted


def test_only_lbpere_wce_d_sense_and_swp_can_be_changed() -> None:
    changeable = {(page.code, index): mask for page in PAGES for index, mask in enumerate(page.mask) if mask}
    assert changeable == {(0x01, 7): 0x80, (0x08, 2): 0x04, (0x0A, 2): 0x04, (0x0A, 4): 0x08}


def test_saved_values_do_not_exist(a) -> None:
    assert a.sense("1a 00 ff 00 ff 00") == "05/39/00"


@pytest.mark.parametrize(
    "cdb", ["1a 00 07 00 ff 00", "1a 00 08 01 ff 00", "1a 00 3f 01 ff 00", "5a 00 0a 02 000000 ffff 00"]
)
def test_unknown_page_or_subpage(a, cdb: str) -> None:
    assert a.sense(cdb) == "05/24/00"


def test_write_protection_shows(unit, a) -> None:
    unit.read_only = True
    assert a.good("1a 00 08 00 ff 00")[2] == 0x90
    assert a.good("5a 00 08 00 000000 ffff 00")[3] == 0x90


@pytest.mark.parametrize("long", [False, True])
def test_turning_the_write_cache_off(unit, a, b, long: bool) -> None:
    a.good(*select(WCE_OFF, long=long))
    assert a.good("1a 08 08 00 ff 00")[4:] == WCE_OFF
    assert a.good("1a 08 88 00 ff 00")[4:] == CACHING
    assert a.nexus.flags == NexusFlag.WRITE_THROUGH
    assert b.attention() == "06/2a/01"
    assert a.attention() == ""


def test_what_changes_nothing_tells_nobody(unit, a, b) -> None:
    a.good(*select(CACHING))
    assert b.attention() == ""


def test_software_write_protect(unit, a) -> None:
    a.good(*select(SWP_ON))
    assert a.sense("2a 00 00000000 00 0001 00", bytes(512)) == "07/27/00"
    assert a.nexus.flags == NexusFlag.SLOW_WRITE
    a.good(*select(CONTROL))
    a.good("2a 00 00000000 00 0001 00", bytes(512))
    assert a.nexus.flags == 0


def test_descriptor_sense(a) -> None:
    a.good(*select(D_SENSE_ON))
    assert a.send("28 00 00001000 00 0001 00").sense.hex() == "7205210000000000"
    assert a.send("28 20 00000000 00 0001 00").sense.hex() == "720524000000000802060000cd000100"


def test_several_pages_at_once(a) -> None:
    a.good(*select(WCE_OFF + SWP_ON))
    assert a.unit.mode.software_write_protect
    assert not a.unit.mode.write_cache


def test_a_wrong_page_leaves_all_as_it_was(a) -> None:
    assert a.sense(*select(WCE_OFF + control(5, 0x40))) == "05/26/00"
    assert a.unit.mode.write_cache


def test_own_block_descriptor_is_taken(a) -> None:
    a.good("15 10 00 00 20 00", bytes.fromhex("00000008 00001000 00000200") + CACHING)
    a.good(
        "55 10 0000000000 002c 00",
        bytes.fromhex("0000000001000010 0000000000001000 00000000 00000200") + CACHING,
    )


@pytest.mark.parametrize(
    ("cdb", "data", "sense"),
    [
        ("15 00 00 00 04 00", bytes(4), "05/24/00"),  # PF=0
        ("15 11 00 00 04 00", bytes(4), "05/24/00"),  # SP=1
        ("15 10 00 00 03 00", bytes(3), "05/1a/00"),  # inside the header
        ("55 10 0000000000 0007 00", bytes(7), "05/1a/00"),
        ("15 10 00 00 18 00", bytes(4), "05/1a/00"),  # less came than named
        ("15 10 00 00 08 00", bytes.fromhex("00000008 00001000"), "05/1a/00"),  # inside the descriptor
        ("15 10 00 00 08 00", bytes(4) + CACHING[:4], "05/1a/00"),  # inside a page
        ("15 10 00 00 05 00", bytes(4) + CACHING[:1], "05/1a/00"),  # inside a page header
        ("15 10 00 00 04 00", bytes.fromhex("17000000"), "05/26/00"),  # mode data length
        ("15 10 00 00 0c 00", bytes.fromhex("00000008 00000000 00001000"), "05/26/00"),  # another block size
        ("15 10 00 00 0c 00", bytes.fromhex("00000008 00000007 00000200"), "05/26/00"),  # another capacity
        ("15 10 00 00 08 00", bytes.fromhex("00000004 00001000"), "05/26/00"),  # half a descriptor
        (*select(bytes.fromhex("0700")), "05/26/00"),  # unknown page
        (*select(bytes.fromhex("4803 0000")), "05/26/00"),  # unknown subpage
        (*select(bytes.fromhex("0811") + bytes(17)), "05/26/00"),  # wrong page length
        (*select(control(2, 0x00)), "05/26/00"),  # GLTSD can't be changed
    ],
)
def test_mode_select_refuses(a, cdb: str, data: bytes, sense: str) -> None:
    assert a.sense(cdb, data) == sense


def test_empty_list_is_good(a) -> None:
    a.good("15 10 00 00 00 00")
    a.good("55 10 0000000000 0000 00")


def test_reset_brings_the_defaults_back(unit, a) -> None:
    a.good(*select(WCE_OFF + SWP_ON))
    unit.reset()
    assert unit.mode.write_cache
    assert a.nexus.flags == 0
