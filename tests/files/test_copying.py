"""Copies of golden files: every byte, and the holes."""

import errno
import os
from pathlib import Path

import pytest
from goldherd.files import copying
from goldherd.files.copying import copy_bytes, data_ranges, parts_with_data

MIB = 1 << 20


def quiet(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def holey(tmp_path: Path) -> Path:
    """8 MiB: a hole, data, a hole, data up to an end that is on no border."""
    path = tmp_path / "holey"
    with path.open("wb") as file:
        file.truncate(8 * MIB)
        file.seek(2 * MIB)
        file.write(os.urandom(MIB + 512))
        file.seek(7 * MIB + 4096)
        file.write(os.urandom(MIB))
    return path


def copied(source: Path, target: Path, length: int) -> None:
    with source.open("rb") as reader, target.open("wb+") as writer:
        writer.truncate(length)
        copy_bytes(reader.fileno(), writer.fileno(), length, quiet)


def test_copy_has_every_byte_and_keeps_the_holes(holey: Path, tmp_path: Path) -> None:
    copied(holey, tmp_path / "copy", holey.stat().st_size)
    assert (tmp_path / "copy").read_bytes() == holey.read_bytes()
    assert (tmp_path / "copy").stat().st_blocks * 512 < 3 * MIB


def test_copy_by_reading_and_writing_is_the_same(holey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*arguments: object) -> int:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(copying.os, "copy_file_range", refuses)
    copied(holey, tmp_path / "copy", holey.stat().st_size)
    assert (tmp_path / "copy").read_bytes() == holey.read_bytes()
    assert (tmp_path / "copy").stat().st_blocks * 512 < 3 * MIB


def test_source_that_becomes_shorter_ends_the_copy(holey: Path, tmp_path: Path) -> None:
    length = holey.stat().st_size

    def cut(stage: str, done: int, total: int) -> None:
        os.truncate(holey, 3 * MIB)

    with (
        holey.open("rb") as reader,
        (tmp_path / "copy").open("wb+") as writer,
        pytest.raises(OSError, match="shorter"),
    ):
        copy_bytes(reader.fileno(), writer.fileno(), length + MIB, cut)


def test_ranges_of_data_cover_all_that_is_not_zero(holey: Path) -> None:
    data = holey.read_bytes()
    with holey.open("rb") as file:
        ranges = list(data_ranges(file.fileno(), len(data)))
    offset = 0
    for start, end in [*ranges, (len(data), len(data))]:
        assert not any(data[offset:start])
        offset = end


def test_zeros_of_a_source_that_shows_no_holes_are_not_written(tmp_path: Path) -> None:
    """So does a file look on FAT, and a block device: all of it is data."""
    source = tmp_path / "source"
    data = bytearray(16 * MIB)
    data[5 * MIB : 5 * MIB + 4096] = os.urandom(4096)
    data[-512:] = os.urandom(512)
    source.write_bytes(data)
    copied(source, tmp_path / "copy", len(data))
    assert (tmp_path / "copy").read_bytes() == data
    assert (tmp_path / "copy").stat().st_blocks * 512 <= 4 * 65536


def test_copy_of_ten_tebibytes_moves_their_data_only(tmp_path: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(10 << 40)
        file.seek(9 << 40)
        file.write(os.urandom(MIB))
    copied(source, tmp_path / "copy", 10 << 40)
    assert (tmp_path / "copy").stat().st_blocks * 512 < 4 * MIB
    with (tmp_path / "copy").open("rb") as file:
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 9 << 40


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"", []),
        (bytes(200_000), []),
        (b"a" * 200_000, [(0, 200_000)]),
        (bytes(65536) + b"a" + bytes(200_000), [(65536, 131072)]),
        (bytes(131072) + b"ab", [(131072, 131074)]),
        (b"a" + bytes(65535) + b"a" * 65536 + bytes(65536) + b"a" * 65536, [(0, 131072), (196608, 262144)]),
    ],
)
def test_parts_with_data_leave_out_zeros(data: bytes, parts: list[tuple[int, int]]) -> None:
    assert list(parts_with_data(data)) == parts
