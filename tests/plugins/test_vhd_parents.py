"""Chains of differencing disks: who the parent is, where it is looked for, and what is refused."""

import os
import shutil
import struct
from pathlib import Path

import pytest
from goldherd.errors import ImageError
from goldherd.limits import CHAIN_DEPTH_MAX
from goldherd_plugins.vhd import layout
from goldherd_plugins.vhd.create import create_differencing
from goldherd_plugins.vhd.parents import find_parent_file
from goldherd_plugins.vhd.survey import Survey, survey

from tests.plugins.conftest import FORMATS, Opener, create_disk, open_disk

MIB = 1 << 20
SIZE = 4 * MIB


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    folder = tmp_path / "golden"
    folder.mkdir()
    path = folder / "golden.vhd"
    create_disk(f"vhd:{path}", SIZE)
    image = open_disk(f"vhd:{path}", "rw")
    image.write(0, memoryview(b"golden" + bytes(506)))
    image.close()
    return path


@pytest.fixture
def child(tmp_path: Path, golden: Path) -> Path:
    folder = tmp_path / "nodes"
    folder.mkdir()
    path = folder / "pc-001.vhd"
    create_disk(f"vhd:{path}", SIZE, golden)
    return path


def survey_of(path: Path) -> Survey:
    fd = os.open(path, os.O_RDONLY)
    try:
        return survey(fd, str(path))
    finally:
        os.close(fd)


def find(child: Path, opener: Opener | None = None) -> Path:
    return find_parent_file(child, survey_of(child), opener or Opener())


def set_locators(path: Path, relative: bytes, absolute: bytes, name: str = "") -> None:
    """Writes other texts into the places that create_differencing made, and another name."""
    content = bytearray(path.read_bytes())
    header = content[512:1536]
    header[64:576] = name.encode("utf-16-be").ljust(512, b"\0")
    for index, text in enumerate((relative, absolute)):
        at = 576 + 24 * index
        (offset,) = struct.unpack_from(">Q", header, at + 16)
        struct.pack_into(">I", header, at + 8, len(text))
        content[offset : offset + 512] = text.ljust(512, b"\0")
    header[36:40] = struct.pack(">I", layout.checksum(bytes(header)))
    content[512:1536] = header
    path.write_bytes(content)


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le")


def test_a_child_reads_its_parent_until_it_is_written(child: Path) -> None:
    opener = Opener()
    image = open_disk(f"vhd:{child}", "rw", opener)
    assert image.read(0, 6) == b"golden"
    image.write(0, memoryview(b"mine!!" + bytes(506)))
    assert image.read(0, 6) == b"mine!!"
    image.close()
    opener.close()


def test_the_parent_is_never_written(golden: Path, child: Path) -> None:
    before = golden.read_bytes()
    status = golden.stat()
    opener = Opener()
    image = open_disk(f"vhd:{child}", "rw", opener)
    image.write(0, memoryview(bytes(SIZE)))
    image.discard(0, SIZE)
    image.close()
    opener.close()
    assert golden.read_bytes() == before
    assert golden.stat().st_mtime_ns == status.st_mtime_ns


def test_a_discard_in_a_child_hides_the_parent(child: Path) -> None:
    opener = Opener()
    image = open_disk(f"vhd:{child}", "rw", opener)
    image.discard(0, SIZE)
    assert image.read(0, SIZE) == bytes(SIZE)
    image.close()
    image = open_disk(f"vhd:{child}", "r", opener)
    assert image.read(0, SIZE) == bytes(SIZE)
    image.close()
    opener.close()


def test_a_written_zero_hides_the_parent(child: Path) -> None:
    opener = Opener()
    image = open_disk(f"vhd:{child}", "rw", opener)
    image.write(0, memoryview(bytes(512)))
    image.close()
    image = open_disk(f"vhd:{child}", "r", opener)
    assert image.read(0, 512) == bytes(512)
    image.close()
    opener.close()


def test_a_child_tells_about_itself(golden: Path, child: Path) -> None:
    opener = Opener()
    image = open_disk(f"vhd:{child}", "r", opener)
    assert image.kind == "differencing" and image.disk_type == 4
    assert image.parent is opener.parents[golden]
    facts = image.describe()
    assert facts["parent_uuid"] == str(image.parent.uuid)
    assert facts["parent_names"][0] == "..\\golden\\golden.vhd"
    image.close()
    opener.close()


def test_the_relative_locator_is_found_from_another_place(tmp_path: Path, child: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for folder in ("golden", "nodes"):
        shutil.move(tmp_path / folder, moved / folder)
    assert find(moved / "nodes" / child.name) == moved / "golden" / "golden.vhd"


def test_a_child_behind_a_symbolic_link_is_looked_from_its_real_folder(
    tmp_path: Path, golden: Path, child: Path
) -> None:
    link = tmp_path / "link.vhd"
    link.symlink_to(child)
    assert find(link) == golden


def test_the_absolute_locator_serves_when_the_relative_one_does_not(tmp_path: Path, golden: Path, child: Path) -> None:
    elsewhere = tmp_path / "a" / "b" / "c"
    elsewhere.mkdir(parents=True)
    shutil.move(child, elsewhere / child.name)
    assert find(elsewhere / child.name) == golden


@pytest.mark.parametrize("beside", [True, False])
def test_the_bare_name_is_found_beside_the_child_and_in_search_folders(
    tmp_path: Path, golden: Path, child: Path, beside: bool
) -> None:
    place = child.parent if beside else tmp_path / "pool"
    place.mkdir(exist_ok=True)
    shutil.move(golden, place / golden.name)
    assert find(child, Opener(search=[tmp_path / "pool"])) == place / golden.name


@pytest.mark.parametrize(
    ("relative", "absolute", "name"),
    [
        (b"", utf16("C:\\images\\golden.vhd"), ""),
        (b"", utf16("\\\\server\\share\\golden.vhd"), ""),
        (utf16(".\\golden.vhd\0"), b"", ""),
        (b"odd", b"odd", "C:\\images\\golden.vhd"),
        (utf16("..\\absent\\golden.vhd"), b"", ""),
    ],
)
def test_a_path_of_windows_serves_by_its_file_name(
    golden: Path, child: Path, relative: bytes, absolute: bytes, name: str
) -> None:
    set_locators(child, relative, absolute, name)
    shutil.move(golden, child.parent / golden.name)
    assert find(child) == child.parent / golden.name


@pytest.mark.parametrize("text", ["\\\\server\\share\\x", "file:///etc/hostname", "C:x", "\\\\.\\PhysicalDrive0"])
def test_foreign_paths_are_never_followed(child: Path, text: str) -> None:
    set_locators(child, utf16(text), utf16(text))
    with pytest.raises(ImageError) as refusal:
        find(child)
    assert "/server/" not in str(refusal.value) and "/etc/" not in str(refusal.value)


def test_no_usable_locator_is_said(child: Path) -> None:
    set_locators(child, b"", b"odd", "")
    with pytest.raises(ImageError, match="without a usable parent locator"):
        find(child)


def test_a_missing_parent_is_refused_with_all_places_tried(golden: Path, child: Path) -> None:
    golden.unlink()
    with pytest.raises(ImageError) as refusal:
        find(child)
    for words in (str(golden), str(child.parent / golden.name), "missing", "was not found"):
        assert words in str(refusal.value)


def test_another_disk_of_the_same_name_is_passed_over(golden: Path, child: Path) -> None:
    create_disk(f"vhd:{child.parent / 'other.vhd'}", SIZE)
    shutil.move(golden, child.parent / "right.vhd")
    shutil.move(child.parent / "other.vhd", golden)
    with pytest.raises(ImageError, match="another disk"):
        find(child)
    set_locators(child, utf16("..\\golden\\golden.vhd"), utf16("C:\\x\\right.vhd"))
    assert find(child) == child.parent / "right.vhd"


def test_the_parent_that_is_named_counts_alone(tmp_path: Path, golden: Path, child: Path) -> None:
    copy = tmp_path / "copy.vhd"
    shutil.copy(golden, copy)
    assert find(child, Opener(parent=copy)) == copy
    other = tmp_path / "other.vhd"
    create_disk(f"vhd:{other}", SIZE)
    with pytest.raises(ImageError, match="another disk"):
        find(child, Opener(parent=other))


def test_a_raw_file_is_no_parent(tmp_path: Path, child: Path) -> None:
    raw = tmp_path / "disk.img"
    raw.write_bytes(bytes(SIZE))
    with pytest.raises(ImageError, match="not a sound VHD"):
        find(child, Opener(parent=raw))
    with pytest.raises(ImageError, match="can't be the parent of a VHD"):
        create_differencing(tmp_path / "child.vhd", raw)


def test_a_chain_that_comes_back_to_itself_is_refused(tmp_path: Path, golden: Path, child: Path) -> None:
    grandchild = child.with_name("grandchild.vhd")
    create_differencing(grandchild, child)
    # The child is made to descend from the grandchild.
    content = bytearray(child.read_bytes())
    header = content[512:1536]
    header[40:56] = grandchild.read_bytes()[68:84]
    header[36:40] = struct.pack(">I", layout.checksum(bytes(header)))
    content[512:1536] = header
    child.write_bytes(content)
    set_locators(child, utf16(".\\grandchild.vhd"), b"")
    for start in (child, grandchild):
        with pytest.raises(ImageError, match="is a loop"):
            find(start)


def test_a_disk_that_is_its_own_parent_is_refused(child: Path) -> None:
    content = bytearray(child.read_bytes())
    content[512 + 40 : 512 + 56] = content[68:84]
    content[512 + 36 : 512 + 40] = struct.pack(">I", layout.checksum(bytes(content[512:1536])))
    child.write_bytes(content)
    set_locators(child, utf16(f".\\{child.name}"), b"")
    with pytest.raises(ImageError, match="is a loop"):
        find(child)


def test_a_chain_is_read_through_all_its_levels(golden: Path, child: Path) -> None:
    opener = Opener()
    paths = [golden, child]
    for level in range(2, 6):
        image = open_disk(f"vhd:{paths[-1]}", "rw", opener)
        image.write(level * 512, memoryview(bytes([level]) * 512))
        image.close()
        paths.append(child.with_name(f"level{level}.vhd"))
        create_differencing(paths[-1], paths[-2])
    image = open_disk(f"vhd:{paths[-1]}", "r", opener)
    assert image.read(0, 6) == b"golden"
    for level in range(2, 6):
        assert image.read(level * 512, 512) == bytes([level]) * 512
    image.close()
    opener.close()


def test_a_chain_deeper_than_the_limit_is_refused(golden: Path, child: Path) -> None:
    path = child
    for level in range(CHAIN_DEPTH_MAX):
        deeper = child.with_name(f"level{level}.vhd")
        create_differencing(deeper, path)
        path = deeper
    with pytest.raises(ImageError, match=f"more than {CHAIN_DEPTH_MAX} parents"):
        find(path)


def resize(path: Path, size_bytes: int) -> None:
    """Another current size in both footers, as a program that resizes writes it."""
    content = bytearray(path.read_bytes())
    for start in (0, len(content) - 512):
        struct.pack_into(">Q", content, start + 48, size_bytes)
        raw = bytes(content[start : start + 512])
        struct.pack_into(">I", content, start + 64, layout.checksum(raw))
    path.write_bytes(content)


def test_a_child_that_is_smaller_than_its_parent_is_refused(child: Path) -> None:
    resize(child, SIZE - 512)
    with pytest.raises(ImageError, match="can't be smaller"):
        find(child)


def test_a_longer_child_is_opened_only_when_asked_for_and_ends_with_zeros(golden: Path, child: Path) -> None:
    resize(golden, SIZE - 4096)
    image = open_disk(f"vhd:{golden}", "rw")
    image.write(SIZE - 8192, memoryview(b"e" * 4096))
    image.close()
    with pytest.raises(ImageError, match="was resized"):
        open_disk(f"vhd:{child}", "r")
    opener = Opener()
    opener.options = (("longer-child", ""),)
    image = open_disk(f"vhd:{child}", "rw", opener)
    assert image.read(SIZE - 8192, 8192) == b"e" * 4096 + bytes(4096)
    assert image.extent_at(SIZE - 4096, 4096) == (4096, True)
    image.write(SIZE - 512, memoryview(b"f" * 512))
    assert image.read(SIZE - 4608, 4608) == b"e" * 512 + bytes(3584) + b"f" * 512
    image.close()
    opener.close()


def test_a_parent_with_other_blocks_is_read(tmp_path: Path) -> None:
    from goldherd_plugins.vhd.create import create_dynamic

    parent = tmp_path / "parent.vhd"
    create_dynamic(parent, SIZE, block_bytes=512 << 10)
    image = open_disk(f"vhd:{parent}", "rw")
    data = os.urandom(SIZE)
    image.write(0, memoryview(data))
    image.close()
    child = tmp_path / "child.vhd"
    create_differencing(child, parent, block_bytes=16 << 20)
    opener = Opener()
    image = open_disk(f"vhd:{child}", "rw", opener)
    image.write(MIB, memoryview(bytes(1024)))
    assert image.read(0, SIZE) == data[:MIB] + bytes(1024) + data[MIB + 1024 :]
    image.close()
    opener.close()


def test_a_child_has_the_size_of_its_parent(tmp_path: Path, golden: Path) -> None:
    with pytest.raises(ImageError, match="has the size of its parent"):
        create_disk(f"vhd:{tmp_path / 'child.vhd'}", SIZE * 2, golden)


def test_a_parent_path_with_a_backslash_is_refused(tmp_path: Path, golden: Path) -> None:
    odd = golden.rename(golden.with_name("odd\\name.vhd"))
    with pytest.raises(ImageError, match="backslash"):
        create_differencing(tmp_path / "child.vhd", odd)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("golden.vhd", "Golden.VHD"),
        ("GOLDEN.VHD", "golden.vhd"),
        ("M\u00fcnchen.vhd", "Mu\u0308nchen.vhd"),
        ("Mu\u0308nchen.vhd", "M\u00fcnchen.vhd"),
        ("STRASSE.vhd", "stra\u00dfe.vhd"),
        ("Sub\\golden.vhd", "sub/GOLDEN.vhd"),
    ],
)
def test_a_parent_is_found_under_a_name_that_other_systems_take_for_the_same(
    golden: Path, child: Path, said: str, found: str
) -> None:
    place = child.parent / found
    place.parent.mkdir(exist_ok=True)
    golden.rename(place)
    set_locators(child, utf16(f".\\{said}"), b"")
    opener = Opener()
    image = open_disk(f"vhd:{child}", "r", opener)
    assert image.read(0, 6) == b"golden"
    image.close()
    assert list(opener.parents) == [place.resolve()]
    opener.close()


def test_of_names_that_differ_in_case_the_right_disk_is_taken(golden: Path, child: Path) -> None:
    create_disk(f"vhd:{child.parent / 'GOLDEN.vhd'}", SIZE)
    right = golden.rename(child.parent / "golden.VHD")
    set_locators(child, utf16(".\\golden.vhd"), b"")
    opener = Opener()
    open_disk(f"vhd:{child}", "r", opener).close()
    assert list(opener.parents) == [right]
    opener.close()


def test_a_parent_without_a_usable_name_is_found_by_its_unique_id(golden: Path, child: Path, tmp_path: Path) -> None:
    (tmp_path / "sealed").mkdir()
    sealed = golden.rename(tmp_path / "sealed" / "lab@1.vhd")
    with pytest.raises(ImageError, match="was not found"):
        open_disk(f"vhd:{child}", "r")
    opener = Opener()
    identity = FORMATS.identity(f"vhd:{sealed}")
    assert identity is not None
    opener.by_identity[identity] = sealed
    open_disk(f"vhd:{child}", "r", opener).close()
    assert list(opener.parents) == [sealed]
    opener.close()


def test_parent_that_is_replaced_or_moved_between_two_children_is_looked_at_again(tmp_path: Path, golden: Path) -> None:
    create_differencing(tmp_path / "one.vhd", golden)
    other = tmp_path / "other.vhd"
    create_disk(f"vhd:{other}", SIZE)
    os.utime(other, ns=(golden.stat().st_atime_ns, golden.stat().st_mtime_ns))
    other.replace(golden)
    create_differencing(tmp_path / "two.vhd", golden)
    golden.parent.rename(tmp_path / "moved")
    create_differencing(tmp_path / "three.vhd", tmp_path / "moved" / "golden.vhd")
    one, two, three = (survey_of(tmp_path / f"{name}.vhd").header for name in ("one", "two", "three"))
    assert one is not None and two is not None and three is not None
    assert one.parent_id != two.parent_id == three.parent_id
    assert b"moved" in (tmp_path / "three.vhd").read_bytes().replace(b"\0", b"")
