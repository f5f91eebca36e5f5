"""Copies of golden files: every byte, and the holes."""

import errno
import hashlib
import os
from pathlib import Path

import pytest
from goldherd.files import copying
from goldherd.files.copying import copy_bytes, data_ranges, hash_file

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


def test_hash_is_that_of_the_bytes_and_of_their_beginning(holey: Path) -> None:
    data = holey.read_bytes()
    for border in (512, 2 * MIB + 100, 5 * MIB, len(data) - 512, len(data)):
        whole, beginning = hash_file(holey, quiet, border)
        assert whole == hashlib.sha256(data).hexdigest()
        assert beginning == hashlib.sha256(data[:border]).hexdigest()


def test_hash_of_a_file_that_is_one_hole(tmp_path: Path) -> None:
    path = tmp_path / "hole"
    with path.open("wb") as file:
        file.truncate(3 * MIB + 5)
    assert hash_file(path, quiet)[0] == hashlib.sha256(bytes(3 * MIB + 5)).hexdigest()


def test_ranges_of_data_cover_all_that_is_not_zero(holey: Path) -> None:
    data = holey.read_bytes()
    with holey.open("rb") as file:
        ranges = list(data_ranges(file.fileno(), len(data)))
    offset = 0
    for start, end in [*ranges, (len(data), len(data))]:
        assert not any(data[offset:start])
        offset = end


def test_progress_ends_at_the_whole(holey: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    hash_file(holey, lambda *step: seen.append(step))
    assert seen[-1] == ("hash", holey.stat().st_size, holey.stat().st_size)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
