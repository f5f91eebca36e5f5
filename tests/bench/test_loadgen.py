"""The load generator tells the truth: it counts what was done and notices what is wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.build import build
from bench.initiator import LoginError, Session, log_in
from bench.pattern import words, write_pattern
from tests.support.targets import Export, TgtExport

build()

from bench.loadgen import Load, LoadError  # noqa: E402 - built just above

DISK_BYTES = 8 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return write_pattern(tmp_path / "disk.raw", DISK_BYTES)


@pytest.fixture
def export(disk: Path, tmp_path: Path) -> Iterator[Export]:
    with TgtExport([disk], tmp_path) as served:
        yield served


def sessions(export: Export, count: int) -> list[Session]:
    return [log_in(export.portal.host, export.portal.port, export.iqn, lun=1) for _ in range(count)]


def test_every_byte_of_a_sequential_read_is_checked(export: Export) -> None:
    load = Load(sessions(export, 3))
    count = DISK_BYTES // 65536
    result = load.run(
        block_bytes=65536,
        depth=4,
        count_max=count,
        sequential=True,
        check_all=True,
        start_bytes=[0, 0, 65536],
    )
    assert result.commands == 3 * count
    # A word that two receives cut in half is left out.
    assert 0.99 * 3 * DISK_BYTES < result.bytes_checked <= 3 * DISK_BYTES


def test_one_wrong_word_is_noticed(export: Export, disk: Path) -> None:
    with disk.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"\xff" * 8)
    load = Load(sessions(export, 1))
    with pytest.raises(LoadError, match=f"byte {1 << 20} of the image"):
        load.run(block_bytes=4096, depth=2, count_max=DISK_BYTES // 4096, sequential=True, check_all=True)


@pytest.mark.parametrize("block_bytes", [4096, 1 << 20], ids=["immediate data", "R2T"])
def test_writes_put_each_word_where_it_belongs(export: Export, disk: Path, block_bytes: int) -> None:
    disk.write_bytes(bytes(DISK_BYTES))
    load = Load(sessions(export, 1))
    count = DISK_BYTES // block_bytes
    result = load.run(block_bytes=block_bytes, depth=4, count_max=count, sequential=True, write=True)
    assert result.commands == count
    assert disk.read_bytes() == words(0, DISK_BYTES)


def test_session_goes_on_after_a_run(export: Export) -> None:
    [session] = opened = sessions(export, 1)
    load = Load(opened)
    load.run(block_bytes=4096, depth=8, count_max=100)
    load.close()
    assert session.command(bytes(6)) == (0, b"")
    session.log_out()


def test_login_to_an_unknown_target_is_told(export: Export) -> None:
    with pytest.raises(LoginError, match="refused: status 02"):
        log_in(export.portal.host, export.portal.port, "iqn.2026-11.io.goldherd:nobody")
