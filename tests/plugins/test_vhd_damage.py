"""Damaged VHD files: refused with one sentence, or opened as the format's rules say; never written before."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from goldherd.errors import ImageError
from goldherd_plugins.vhd import layout

from tests.plugins.conftest import Disk, Opener, open_disk

MIB = 1 << 20
SIZE = 5 * MIB
BAT = 1536
"""Where our own dynamic files have their table."""
Change = Callable[[bytearray], None]
MakeDisk = Callable[[str, int], Disk]


@pytest.fixture
def content(make_disk: MakeDisk) -> bytearray:
    """A dynamic disk with its blocks 0 and 2 allocated."""
    disk = make_disk("dynamic", SIZE)
    image = disk.open()
    image.write(0, memoryview(b"a" * 512))
    image.write(4 * MIB, memoryview(b"c" * 512))
    image.close()
    return bytearray(disk.path.read_bytes())


def structure(field: str, value: int | bytes, at: int, length: int, offset: int) -> Change:
    """A change of one field of a structure, its checksum made right again; `at` below 0 counts from the
    end."""

    def change(content: bytearray) -> None:
        start = at if at >= 0 else len(content) + at
        raw = content[start : start + length]
        new = value if isinstance(value, bytes) else struct.pack(field, value)
        raw[offset : offset + len(new)] = new
        place = 64 if length == 512 else 36
        raw[place : place + 4] = struct.pack(">I", layout.checksum(bytes(raw)))
        content[start : start + length] = raw

    return change


def footers(field: str, value: int | bytes, offset: int) -> Change:
    """The same change of both footers."""

    def change(content: bytearray) -> None:
        structure(field, value, 0, 512, offset)(content)
        structure(field, value, -512, 512, offset)(content)

    return change


def header(field: str, value: int, offset: int) -> Change:
    return structure(field, value, 512, 1024, offset)


def put(at: int, data: bytes) -> Change:
    def change(content: bytearray) -> None:
        start = at if at >= 0 else len(content) + at
        content[start : start + len(data)] = data

    return change


def both(*changes: Change) -> Change:
    def change(content: bytearray) -> None:
        for one in changes:
            one(content)

    return change


def entry(block: int, sector: int) -> Change:
    return put(BAT + 4 * block, struct.pack(">I", sector))


def cut(length: int) -> Change:
    def change(content: bytearray) -> None:
        del content[length:]

    return change


def same_place(content: bytearray) -> None:
    content[BAT + 8 : BAT + 12] = content[BAT : BAT + 4]


def overlapping(content: bytearray) -> None:
    (first,) = struct.unpack_from(">I", content, BAT)
    struct.pack_into(">I", content, BAT + 8, first + 4096)


REFUSED: dict[str, tuple[Change, str]] = {
    "empty file": (cut(0), "not a VHD"),
    "shorter than a footer": (cut(100), "not a VHD"),
    "both footers' checksum bad": (both(put(16, b"\1"), put(-496, b"\1")), "not a VHD"),
    "both cookies bad": (both(put(0, b"Conectix"), put(-512, b"Conectix")), "not a VHD"),
    "both footers contradict each other": (structure("", b"x" * 16, 0, 512, 68), "contradict"),
    "footer version 2": (footers(">I", 0x00020000, 12), "version 2.0"),
    "type 0": (footers(">I", 0, 60), "type 0"),
    "type 1": (footers(">I", 1, 60), "type 1"),
    "type 5": (footers(">I", 5, 60), "type 5"),
    "type 7": (footers(">I", 7, 60), "type 7"),
    "size 0": (footers(">Q", 0, 48), "whole sectors"),
    "size of no whole sectors": (footers(">Q", SIZE + 1, 48), "whole sectors"),
    "size 2^62": (footers(">Q", 1 << 62, 48), "at most"),
    "size above 2040 GiB": (footers(">Q", (2040 << 30) + 512, 48), "at most"),
    "header cookie": (put(512, b"cxsparsE"), "cookie"),
    "header checksum": (put(512 + 20, b"\1"), "checksum"),
    "header version 2": (header(">I", 0x00020000, 24), "version 2.0"),
    "header in the footer copy": (footers(">Q", 0, 16), "dynamic header at byte 0"),
    "header not on a sector": (footers(">Q", 700, 16), "dynamic header at byte 700"),
    "header past the end": (footers(">Q", 1 << 40, 16), "dynamic header at byte"),
    "header near 2^64": (footers(">Q", 2**64 - 512, 16), "dynamic header at byte"),
    "block size 0": (header(">I", 0, 32), "blocks of 0 bytes"),
    "block size 256": (header(">I", 256, 32), "blocks of 256 bytes"),
    "block size no power of two": (header(">I", 3 * MIB, 32), "power of two"),
    "block size 2 GiB": (header(">I", 1 << 31, 32), "power of two"),
    "BAT smaller than the disk": (header(">I", 2, 28), "2 entries in its block table where its disk needs 3"),
    "BAT of 2^32-1 entries": (header(">I", 0xFFFFFFFF, 28), "does not lie inside the file"),
    "BAT past the end": (header(">Q", 1 << 40, 16), "does not lie inside the file"),
    "BAT near 2^64": (header(">Q", 2**64 - 512, 16), "does not lie inside the file"),
    "BAT not on a sector": (header(">Q", BAT + 1, 16), "does not lie inside the file"),
    "BAT over the footer copy": (header(">Q", 0, 16), "does not lie inside the file"),
    "BAT inside the header": (header(">Q", 1024, 16), "overlaps its header"),
    "block at the footer copy": (
        both(entry(0, layout.UNUSED_BLOCK), entry(1, 0)),
        "overlaps its own structures",
    ),
    "block at the header": (both(entry(0, layout.UNUSED_BLOCK), entry(1, 1)), "overlaps its own structures"),
    "block at the BAT": (entry(0, 3), "overlaps its own structures"),
    "block past the end": (entry(1, 0x00100000), "does not end inside the file"),
    "block at the highest place": (entry(1, 0xFFFFFFFE), "does not end inside the file"),
    "two entries, one block": (same_place, "two blocks in the same place"),
    "overlapping blocks": (overlapping, "two blocks in the same place"),
    "last block cut": (cut(4 * MIB), "does not end inside the file"),
}


@pytest.mark.parametrize("mode", ["r", "rw"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, content: bytearray, name: str, mode: str) -> None:
    change, words = REFUSED[name]
    change(content)
    path = tmp_path / "damaged.vhd"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=words) as refusal:
        open_disk(f"vhd:{path}", mode)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert path.read_bytes() == content


def lose_tail(content: bytearray) -> None:
    del content[-512:]


def spoil_tail(content: bytearray) -> None:
    content[-512:] = bytes(512)


def leave_growth_behind(content: bytearray) -> None:
    """A power cut after the file grew over a block that never reached the table."""
    content[-512:] = b"\x5a" * (2 * MIB + 4096)


MENDED: dict[str, Change] = {
    "tail lost": lose_tail,
    "tail spoilt": spoil_tail,
    "tail half written": put(-256, bytes(256)),
    "growth left behind": leave_growth_behind,
    "copy spoilt": put(0, bytes(512)),
    "copy's checksum bad": put(64, bytes(4)),
}


@pytest.mark.parametrize("name", MENDED)
def test_one_good_footer_is_enough_to_read_and_nothing_is_written(
    tmp_path: Path, content: bytearray, name: str
) -> None:
    MENDED[name](content)
    path = tmp_path / "hurt.vhd"
    path.write_bytes(content)
    image = open_disk(f"vhd:{path}", "r")
    assert (image.read(0, 512), image.read(4 * MIB, 512)) == (b"a" * 512, b"c" * 512)
    image.close()
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", MENDED)
def test_opening_for_writing_restores_the_other_footer(tmp_path: Path, content: bytearray, name: str) -> None:
    whole = bytes(content)
    MENDED[name](content)
    path = tmp_path / "hurt.vhd"
    path.write_bytes(content)
    image = open_disk(f"vhd:{path}", "rw")
    assert image.read(4 * MIB, 512) == b"c" * 512
    image.close()
    assert path.read_bytes() == whole


def test_a_file_of_an_unknown_writer_is_never_shortened(tmp_path: Path, content: bytearray) -> None:
    footers("", b"tap\0", 28)(content)
    lose_tail(content)
    content += b"private area" + bytes(500)
    path = tmp_path / "xen.vhd"
    path.write_bytes(content)
    open_disk(f"vhd:{path}", "rw").close()
    assert path.read_bytes() == content + content[:512]


def test_an_interrupted_resize_is_done_again_from_the_tail(tmp_path: Path, content: bytearray) -> None:
    structure(">Q", SIZE + MIB, -512, 512, 48)(content)
    path = tmp_path / "resized.vhd"
    path.write_bytes(content)
    image = open_disk(f"vhd:{path}", "rw")
    assert image.size_bytes == SIZE + MIB
    image.close()
    after = path.read_bytes()
    assert after[:512] == after[-512:] == content[-512:]


def test_a_footer_of_511_bytes_is_read(tmp_path: Path, content: bytearray) -> None:
    del content[-1]
    path = tmp_path / "old.vhd"
    path.write_bytes(content)
    image = open_disk(f"vhd:{path}", "r")
    assert image.read(4 * MIB, 512) == b"c" * 512
    image.close()


def test_a_disk_with_a_footer_of_511_bytes_grows_with_one_of_512(tmp_path: Path, content: bytearray) -> None:
    del content[-1]
    path = tmp_path / "old.vhd"
    path.write_bytes(content)
    image = open_disk(f"vhd:{path}", "rw")
    image.write(2 * MIB, memoryview(b"b" * 512))
    image.close()
    image = open_disk(f"vhd:{path}", "r")
    assert [image.read(at * MIB, 1) for at in (0, 2, 4)] == [b"a", b"b", b"c"]
    image.close()
    assert path.stat().st_size % 512 == 0


def test_a_fixed_disk_with_a_footer_of_511_bytes_keeps_its_size(make_disk: MakeDisk) -> None:
    path = make_disk("fixed", MIB).path
    os.truncate(path, MIB + 511)
    image = open_disk(f"vhd:{path}", "r")
    assert image.size_bytes == MIB
    image.close()


def test_a_fixed_disk_that_is_too_short_is_refused(make_disk: MakeDisk) -> None:
    path = make_disk("fixed", MIB).path
    footer = path.read_bytes()[-512:]
    path.write_bytes(bytes(MIB - 512) + footer)
    with pytest.raises(ImageError, match="512 bytes short"):
        open_disk(f"vhd:{path}", "r")


def test_a_fixed_disk_ignores_the_footer_that_its_guest_forged(make_disk: MakeDisk, content: bytearray) -> None:
    disk = make_disk("fixed", MIB)
    image = disk.open()
    image.write(0, memoryview(content[:2048]))
    image.close()
    image = disk.open("r")
    assert image.kind == "fixed"
    assert image.read(0, 2048) == content[:2048]
    image.close()


def test_a_fixed_disk_with_a_spoilt_footer_does_not_become_what_its_guest_forged(
    make_disk: MakeDisk, content: bytearray
) -> None:
    disk = make_disk("fixed", MIB)
    image = disk.open()
    image.write(0, memoryview(content[:2048]))
    image.close()
    with disk.path.open("r+b") as file:
        file.seek(MIB + 100)
        file.write(b"x")
    with pytest.raises(ImageError, match="no valid footer"):
        disk.open("r")


def test_a_fixed_footer_at_the_beginning_is_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "forged.vhd"
    path.write_bytes(layout.build_footer(layout.FIXED, MIB) + bytes(MIB))
    with pytest.raises(ImageError, match="not a VHD"):
        open_disk(f"vhd:{path}", "r")


def test_saved_state_is_read_but_not_written(tmp_path: Path, content: bytearray) -> None:
    footers("", b"\1", 84)(content)
    path = tmp_path / "saved.vhd"
    path.write_bytes(content)
    with pytest.raises(ImageError, match="saved state"):
        open_disk(f"vhd:{path}", "rw")
    open_disk(f"vhd:{path}", "r").close()
    assert path.read_bytes() == content


def test_reserved_bytes_survive_growth(tmp_path: Path, content: bytearray) -> None:
    footers("", b"\1kept", 85)(content)
    path = tmp_path / "hidden.vhd"
    path.write_bytes(content)
    image = open_disk(f"vhd:{path}", "rw")
    image.write(2 * MIB, memoryview(bytes(512)))
    image.close()
    after = path.read_bytes()
    assert after[:512] == after[-512:] == content[:512]


def test_a_table_with_spare_entries_is_taken_and_kept(tmp_path: Path, content: bytearray) -> None:
    header(">I", 100, 28)(content)
    path = tmp_path / "spare.vhd"
    path.write_bytes(content)
    image = open_disk(f"vhd:{path}", "rw")
    image.write(2 * MIB, memoryview(b"b" * 512))
    image.close()
    assert path.read_bytes()[BAT + 12 : BAT + 512] == b"\xff" * 500


def test_the_size_is_the_current_size_unless_geometry_is_asked_for(tmp_path: Path, content: bytearray) -> None:
    footers("", b"vpc ", 28)(content)
    path = tmp_path / "vpc.vhd"
    path.write_bytes(content)
    opener = Opener()
    image = open_disk(f"vhd:{path}", "r", opener)
    assert image.size_bytes == SIZE
    image.close()
    opener.options = (("chs-size", "yes"),)
    image = open_disk(f"vhd:{path}", "r", opener)
    cylinders, heads, sectors = layout.geometry(SIZE)
    assert image.size_bytes == cylinders * heads * sectors * 512 < SIZE
    image.close()
