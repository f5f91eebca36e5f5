"""The content hash: of the content and not of its holes, and never slower than the data."""

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import pytest
from goldherd.files.hashing import hash_file
from goldherd.limits import HASH_CHUNK_BYTES, HASH_HOLE_BYTES_MAX
from goldherd.model.progress import silent

MIB = 1 << 20
TIB = 1 << 40
DOCUMENT = Path(__file__).parents[2] / "docs" / "formats" / "content-hash.md"


@pytest.fixture(scope="module")
def documented() -> Any:
    """The program that the document shows."""
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": "document"}
    exec(compile(program, str(DOCUMENT), "exec"), names)
    return names["content_hash"]


@pytest.fixture
def holey(tmp_path: Path) -> Path:
    """8 MiB and a bit: a hole, data, zeros that were written, a hole, data up to an end that is on no border."""
    path = tmp_path / "holey"
    with path.open("wb") as file:
        file.truncate(8 * MIB)
        file.seek(2 * MIB)
        file.write(os.urandom(MIB + 512) + bytes(3 * HASH_CHUNK_BYTES) + b"x")
        file.seek(7 * MIB + 4096)
        file.write(os.urandom(MIB))
    return path


def rewritten(path: Path, name: str) -> Path:
    """The same content without any hole."""
    copy = path.with_name(name)
    copy.write_bytes(path.read_bytes())
    return copy


def read_by_this_process() -> int:
    """Bytes that this process asked system calls for (proc(5))."""
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text()).group(1))  # type: ignore[union-attr]


@pytest.mark.parametrize("length", [0, 1, HASH_CHUNK_BYTES - 1, HASH_CHUNK_BYTES, 3 * MIB + 5])
@pytest.mark.parametrize("byte", [b"\0", b"a"])
def test_hash_is_the_documented_one(tmp_path: Path, documented: Any, length: int, byte: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(byte * length)
    assert hash_file(path, silent)[0].chunked == documented(path)


def test_hash_is_the_documented_one_whatever_the_holes(holey: Path, documented: Any) -> None:
    assert hash_file(holey, silent)[0].chunked == documented(holey)
    assert hash_file(rewritten(holey, "whole"), silent)[0].chunked == documented(holey)


@pytest.mark.parametrize("border", [0, 512, 2 * MIB + 100, 5 * MIB, 7 * MIB + 4096, 8 * MIB + 4096 - 512])
def test_hashes_of_the_beginning_are_those_of_a_file_that_ends_there(holey: Path, border: int) -> None:
    beginning = holey.with_name("beginning")
    beginning.write_bytes(holey.read_bytes()[:border])
    whole, prefix = hash_file(holey, silent, border, plain=True)
    assert prefix == hash_file(beginning, silent, plain=True)[0]
    assert whole == hash_file(holey, silent, plain=True)[0]


def test_length_counts(tmp_path: Path) -> None:
    shorter, longer = tmp_path / "shorter", tmp_path / "longer"
    shorter.write_bytes(b"a" + bytes(HASH_CHUNK_BYTES - 1))
    longer.write_bytes(b"a" + bytes(HASH_CHUNK_BYTES))
    assert hash_file(shorter, silent)[0].chunked != hash_file(longer, silent)[0].chunked


def test_place_counts(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(2)]
    for number, path in enumerate(paths):
        with path.open("wb") as file:
            file.truncate(4 * HASH_CHUNK_BYTES)
            file.seek(number * HASH_CHUNK_BYTES)
            file.write(b"a" * HASH_CHUNK_BYTES)
    one, other = (hash_file(path, silent)[0].chunked for path in paths)
    assert one != other


def test_plain_hash_is_that_of_all_bytes(holey: Path) -> None:
    data = holey.read_bytes()
    whole, prefix = hash_file(holey, silent, 3 * MIB, plain=True)
    assert whole.plain == hashlib.sha256(data).hexdigest()
    assert prefix.plain == hashlib.sha256(data[: 3 * MIB]).hexdigest()


def test_plain_hash_is_left_out_when_holes_prevail(holey: Path) -> None:
    assert hash_file(holey, silent)[0].plain == hashlib.sha256(holey.read_bytes()).hexdigest()
    os.truncate(holey, HASH_HOLE_BYTES_MAX + 16 * MIB)
    assert hash_file(holey, silent)[0].plain is None


def test_ten_tebibytes_cost_what_their_data_cost(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(10 * TIB)
        for number in range(8):
            file.seek(number * TIB + 12345)
            file.write(os.urandom(MIB))
    before = read_by_this_process()
    whole, prefix = hash_file(path, silent, 9 * TIB)
    assert read_by_this_process() - before < 16 * MIB
    assert whole != prefix


def test_file_that_becomes_shorter_is_told(holey: Path) -> None:
    with holey.open("ab") as file:
        file.write(b"x" * 32 * MIB)  # so much that no thread is at its end when the first step is over

    def cut(stage: str, done: int, total: int) -> None:
        os.truncate(holey, 3 * MIB)

    with pytest.raises(OSError, match="shorter"):
        hash_file(holey, cut)


def test_progress_ends_at_the_whole(holey: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    hash_file(holey, lambda *step: seen.append(step))
    assert seen[-1] == ("hash", holey.stat().st_size, holey.stat().st_size)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
