"""Writes of the same bytes last in the order of their commands, though the threads of a disk work side by side."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.target.conftest import install
from tests.target.daemon import Daemon, running

SLOW_FIRST = '''
"""A disk of 1 MiB whose first write waits for a second one to come, half a second at most."""

import threading

from goldherd import Image, hookimpl


class SlowFirst(Image):
    def __init__(self) -> None:
        super().__init__(size_bytes=1 << 20)
        self.bytes = bytearray(1 << 20)
        self.begun = 0
        self.second = threading.Event()

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        target[:] = self.bytes[offset_bytes : offset_bytes + len(target)]

    def write(self, offset_bytes: int, data: memoryview) -> None:
        copy = bytes(data)
        self.begun += 1
        if self.begun == 2:
            self.second.set()
        elif self.begun == 1:
            self.second.wait(0.5)
        self.bytes[offset_bytes : offset_bytes + len(copy)] = copy


@hookimpl
def open_image(url):
    return SlowFirst() if url.startswith("slow:") else None
'''


@pytest.fixture
def slow_first(site: Path, tmp_path: Path) -> Iterator[Daemon]:
    install("slow_first", SLOW_FIRST, site)
    with running(tmp_path / "log", "--data", tmp_path / "data", "export", "slow:disk") as daemon:
        yield daemon


@pytest.mark.parametrize(
    ("first", "second"),
    [((8, 1), (8, 1)), ((8, 8), (15, 1)), ((8, 1), (0, 16)), ((8, 128), (100, 20))],
    ids=["same", "end", "around", "inside"],
)
def test_later_write_of_the_same_blocks_lasts(
    slow_first: Daemon, first: tuple[int, int], second: tuple[int, int]
) -> None:
    with slow_first.log_in("export") as session:
        expected = bytearray(512 * 512)
        for mark, (lba, blocks) in ((b"1", first), (b"2", second)):
            data = mark * (512 * blocks)
            expected[512 * lba : 512 * (lba + blocks)] = data
            session.start(struct.pack(">BBIBH", 0x2A, 0, lba, 0, blocks), write=data, immediate=len(data))
        assert [session.take().header[3] for _ in range(2)] == [0, 0], "GOOD"
        assert session.read(0, 512) == bytes(expected)


def test_writes_of_other_blocks_go_side_by_side(slow_first: Daemon) -> None:
    with slow_first.log_in("export") as session:
        for lba, mark in ((8, b"1"), (9, b"2")):
            session.start(struct.pack(">BBIBH", 0x2A, 0, lba, 0, 1), write=mark * 512, immediate=512)
        assert [session.take().header[3] for _ in range(2)] == [0, 0], "GOOD"
        assert session.read(8, 2) == b"1" * 512 + b"2" * 512
