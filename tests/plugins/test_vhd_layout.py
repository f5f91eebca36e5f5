"""Footer, header, geometry and locator texts, field by field."""

import pytest
from goldherd.errors import ImageError
from goldherd_plugins.vhd import layout
from hypothesis import given
from hypothesis import strategies as st

GIB = 1 << 30


@pytest.mark.parametrize(
    ("size_bytes", "chs"),
    [
        (10 << 20, (301, 4, 17)),
        (512, (0, 4, 17)),
        (4 << 20, (120, 4, 17)),
        (128 << 20, (963, 16, 17)),
        (1 * GIB, (2080, 16, 63)),
        (30 * GIB, (62415, 16, 63)),
        (65535 * 16 * 255 * 512, (65535, 16, 255)),
        (2040 * GIB, (65535, 16, 255)),
    ],
)
def test_geometry_is_that_of_the_appendix(size_bytes: int, chs: tuple[int, int, int]) -> None:
    assert layout.geometry(size_bytes) == chs


@given(st.integers(1, 2040 * GIB // 512))
def test_geometry_never_exceeds_the_disk_nor_its_fields(sectors: int) -> None:
    cylinders, heads, per_track = layout.geometry(sectors * 512)
    assert cylinders * heads * per_track <= sectors
    assert cylinders <= 0xFFFF and heads <= 16 and per_track <= 255


def test_a_built_footer_parses_with_equal_sizes() -> None:
    raw = layout.build_footer(layout.DYNAMIC, 1 << 20, unique_id=bytes(range(16)))
    footer = layout.parse_footer(raw)
    assert footer is not None
    assert (footer.current_size, footer.original_size) == (1 << 20, 1 << 20)
    assert footer.unique_id == bytes(range(16))
    assert (footer.features, footer.version, footer.data_offset) == (2, 0x10000, 512)


def test_the_data_offset_of_a_fixed_disk_is_all_ones() -> None:
    footer = layout.parse_footer(layout.build_footer(layout.FIXED, 1 << 20))
    assert footer is not None and footer.data_offset == layout.NO_OFFSET


@given(st.integers(0, 511), st.integers(1, 255))
def test_any_changed_byte_of_a_footer_is_noticed(at: int, change: int) -> None:
    raw = bytearray(layout.build_footer(layout.FIXED, 1 << 20))
    raw[at] = (raw[at] + change) % 256
    assert layout.parse_footer(bytes(raw)) is None


def test_the_checksum_of_a_header_spans_1024_bytes() -> None:
    raw = bytearray(layout.build_header(1 << 20, 2 << 20, 1536))
    assert layout.parse_header(bytes(raw), "x").table_entries == 1
    raw[1023] = 1
    with pytest.raises(ImageError, match="checksum"):
        layout.parse_header(bytes(raw), "x")


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("C:\\golden.vhd".encode("utf-16-be"), "C:\\golden.vhd"),
        ("C:\\golden.vhd".encode("utf-16-le"), "C:\\golden.vhd"),
        ("黄金.vhd".encode("utf-16-be"), "黄金.vhd"),
        (b"", ""),
        (b"\xd8\x01" * 4, ""),
    ],
)
def test_the_parent_name_is_read_in_either_byte_order(raw: bytes, name: str) -> None:
    assert layout.decode_name(raw.ljust(512, b"\0")) == name


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (".\\p.vhd".encode("utf-16-le"), ".\\p.vhd"),
        (".\\p.vhd\0\0".encode("utf-16-le"), ".\\p.vhd"),
        ("a\0b".encode("utf-16-le"), None),
        (b"abc", None),
        (b"\x00\xd8\x00\x00", None),
        (b"\0\0", None),
    ],
)
def test_a_locator_text_is_utf16_without_inner_nul(raw: bytes, text: str | None) -> None:
    assert layout.decode_locator(raw) == text


def test_a_time_stamp_stays_in_its_32_bits() -> None:
    assert layout.vhd_time(0) == 0
    assert layout.vhd_time(layout.EPOCH + 5.9) == 5
    assert layout.vhd_time(1e12) == 0xFFFFFFFF
