"""What every backend does alike: the same tests over memory, raw, sparse and the three kinds of VHD."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from goldherd.errors import ImageError

from tests.plugins.conftest import FORMATS, KINDS, Disk, Opener, create_disk, open_disk

MIB = 1 << 20
SIZE = 5 * MIB
FILES = tuple(kind for kind in KINDS if kind != "memory")
THIN = ("sparse", "dynamic", "differencing")
MakeDisk = Callable[[str, int], Disk]


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest, make_disk: MakeDisk) -> Disk:
    return make_disk(request.param, SIZE)


@pytest.fixture(params=FILES)
def file_disk(request: pytest.FixtureRequest, make_disk: MakeDisk) -> Disk:
    return make_disk(request.param, SIZE)


def test_a_new_disk_reads_as_zeros(disk: Disk) -> None:
    image = disk.open()
    assert image.size_bytes == SIZE
    assert image.read(0, SIZE) == bytes(SIZE)
    image.close()


@pytest.mark.parametrize("offset", [0, 512, 2 * MIB - 512, 2 * MIB, 4 * MIB + 4096, SIZE - 1024])
def test_what_is_written_is_read(disk: Disk, offset: int) -> None:
    image = disk.open()
    data = os.urandom(1024)
    image.write(offset, memoryview(data))
    assert image.read(offset, 1024) == data
    assert image.read(0, offset) == bytes(offset)
    assert image.read(offset + 1024, SIZE - offset - 1024) == bytes(SIZE - offset - 1024)
    image.close()


def test_a_write_over_block_borders_is_read_whole(disk: Disk) -> None:
    image = disk.open()
    data = os.urandom(4 * MIB)
    image.write(512, memoryview(data))
    assert image.read(512, len(data)) == data
    image.close()


def test_a_discard_reads_as_zeros(disk: Disk) -> None:
    image = disk.open()
    image.write(0, memoryview(b"x" * SIZE))
    image.discard(512, 3 * MIB)
    assert image.read(0, SIZE) == b"x" * 512 + bytes(3 * MIB) + b"x" * (SIZE - 3 * MIB - 512)
    image.close()


def test_access_beyond_the_end_is_refused(disk: Disk) -> None:
    image = disk.open()
    with pytest.raises(ImageError, match="lie outside the disk"):
        image.read(SIZE - 512, 1024)
    image.close()


def test_flushed_data_is_there_after_reopening(file_disk: Disk) -> None:
    image = file_disk.open()
    data = os.urandom(MIB)
    image.write(3 * MIB - 512, memoryview(data))
    image.close()
    image = file_disk.open("r")
    assert image.read(3 * MIB - 512, MIB) == data
    image.close()


def test_a_disk_opened_read_only_refuses_writes_and_stays_as_it_is(file_disk: Disk) -> None:
    before = file_disk.path.read_bytes()
    image = file_disk.open("r")
    assert image.read_only
    for change in (lambda: image.write(0, memoryview(bytes(512))), lambda: image.discard(0, SIZE)):
        with pytest.raises(ImageError, match="Read-only file system"):
            change()
    image.flush()
    image.close()
    assert file_disk.path.read_bytes() == before


def test_two_writers_of_one_file_are_refused(file_disk: Disk) -> None:
    image = file_disk.open()
    with pytest.raises(ImageError, match="Stop the other program"):
        file_disk.open()
    image.close()


@pytest.mark.parametrize("kind", THIN)
def test_a_thin_disk_shows_its_holes(make_disk: MakeDisk, kind: str) -> None:
    disk = make_disk(kind, 8 * MIB)
    image = disk.open()
    image.write(4 * MIB, memoryview(b"d" * 2 * MIB))
    image.flush()
    assert image.extent_at(0, 8 * MIB) == (4 * MIB, True)
    assert image.extent_at(4 * MIB, 4 * MIB) == (2 * MIB, False)
    assert image.extent_at(6 * MIB, 2 * MIB) == (2 * MIB, True)
    image.close()


@pytest.mark.parametrize("kind", THIN)
def test_a_thin_disk_gives_discarded_space_back(make_disk: MakeDisk, kind: str) -> None:
    disk = make_disk(kind, 8 * MIB)
    image = disk.open()
    image.write(0, memoryview(b"d" * 8 * MIB))
    image.flush()
    used = disk.path.stat().st_blocks
    image.discard(0, 8 * MIB)
    image.flush()
    assert disk.path.stat().st_blocks * 512 < used * 512 - 7 * MIB
    assert image.read(0, 8 * MIB) == bytes(8 * MIB)
    image.close()


@pytest.mark.parametrize("kind", THIN)
def test_discarding_a_fresh_thin_disk_takes_no_space(make_disk: MakeDisk, kind: str) -> None:
    disk = make_disk(kind, 64 * MIB)
    before = disk.path.stat().st_size
    image = disk.open()
    image.discard(0, 64 * MIB)
    image.close()
    assert disk.path.stat().st_size == before


@pytest.mark.parametrize("url", ["raw:{}", "sparse:{}", "vhd:{}", "vhd-fixed:{}"])
@pytest.mark.parametrize("size_bytes", [0, 513])
def test_creating_a_disk_of_no_whole_sectors_is_refused(tmp_path: Path, url: str, size_bytes: int) -> None:
    with pytest.raises(ImageError, match="whole sectors of 512"):
        create_disk(url.format(tmp_path / "disk"), size_bytes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["raw:{}", "sparse:{}", "vhd:{}", "vhd-fixed:{}"])
def test_creating_over_a_file_is_refused(tmp_path: Path, url: str) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"precious")
    with pytest.raises(ImageError, match="exists already"):
        create_disk(url.format(path), MIB)
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize("size_bytes", [0, 511, 1000])
def test_a_raw_file_of_no_whole_sectors_is_refused_with_advice(tmp_path: Path, size_bytes: int) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(size_bytes))
    with pytest.raises(ImageError, match="truncate -s"):
        open_disk(f"raw:{path}", "r")


def test_a_file_of_any_bytes_is_raw(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(os.urandom(MIB - 2) + b"\x55\xaa")
    assert FORMATS.probe(path) == "raw"


@pytest.mark.parametrize("name", ["golden", "golden.img", "golden.raw", "golden.iso"])
@pytest.mark.parametrize("kind", ["fixed", "dynamic", "differencing"])
def test_a_vhd_under_another_name_asks_the_administrator(make_disk: MakeDisk, kind: str, name: str) -> None:
    path = make_disk(kind, MIB).path
    other = path.rename(path.with_name(name))
    with pytest.raises(ImageError, match="say format=vhd to open it as that, or say format=raw"):
        FORMATS.probe(other)


@pytest.mark.parametrize("kind", ["fixed", "dynamic", "differencing"])
def test_a_vhd_is_recognised_by_its_name(make_disk: MakeDisk, kind: str) -> None:
    assert FORMATS.probe(make_disk(kind, MIB).path) == "vhd"


def test_other_urls_are_left_to_other_plugins() -> None:
    with pytest.raises(ImageError, match="no plugin knows the format zip"):
        FORMATS.open("zip:disk.zip", "r", Opener())
    with pytest.raises(ImageError, match="no plugin knows the format zip"):
        FORMATS.create("zip:disk.zip", 512)


@pytest.mark.parametrize("url", ["raw:{}", "sparse:{}", "vhd-fixed:{}"])
def test_only_a_differencing_format_takes_a_parent(tmp_path: Path, make_disk: MakeDisk, url: str) -> None:
    parent = make_disk("fixed", MIB).path
    with pytest.raises(ImageError, match="makes no differencing disks over the format vhd"):
        create_disk(url.format(tmp_path / "child"), MIB, parent)


@pytest.mark.parametrize("kind", ["raw", "sparse"])
@pytest.mark.parametrize("size_bytes", [MIB, 3 * MIB])
def test_a_plain_disk_is_resized(tmp_path: Path, kind: str, size_bytes: int) -> None:
    url = f"{kind}:{tmp_path / 'disk'}"
    create_disk(url, 2 * MIB)
    image = open_disk(url, "rw")
    image.write(0, memoryview(b"x" * 512))
    image.close()
    FORMATS.resize(url, size_bytes)
    image = open_disk(url, "r")
    assert (image.size_bytes, image.read(0, 1024)) == (size_bytes, b"x" * 512 + bytes(512))
    with pytest.raises(ImageError, match="Stop the other program"):
        FORMATS.resize(url, MIB)
    image.close()


def test_what_a_format_lacks_is_said(make_disk: MakeDisk) -> None:
    disk = make_disk("dynamic", MIB)
    with pytest.raises(ImageError, match="the format vhd changes no sizes"):
        FORMATS.resize(disk.url, 2 * MIB)
    with pytest.raises(ImageError, match="the format vhd makes no snapshots"):
        FORMATS.snapshot(disk.url, f"{disk.path}.copy")


def test_check_says_what_is_wrong(make_disk: MakeDisk) -> None:
    disk = make_disk("dynamic", MIB)
    assert FORMATS.check(disk.url) == ()
    content = disk.path.read_bytes()
    disk.path.write_bytes(content[:-512])
    assert "has lost its footer" in FORMATS.check(disk.url)[0]
    disk.path.write_bytes(bytes(4096))
    assert len(FORMATS.check(disk.url)) == 1
    disk.path.write_bytes(bytes(100))
    assert "whole sectors" in FORMATS.check(f"raw:{disk.path}")[0]
