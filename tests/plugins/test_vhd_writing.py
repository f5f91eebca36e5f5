"""Allocation and flush: where things are put, what happens when the disk is full, and writers side by
side."""

import os
import random
import resource
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from goldherd.errors import ImageError
from goldherd_plugins.vhd.create import create_differencing, create_dynamic

from tests.plugins.conftest import Disk, Opener, open_disk

MIB = 1 << 20
MakeDisk = Callable[[str, int], Disk]


@contextmanager
def file_size_limit(length: int) -> Iterator[None]:
    """A file system that refuses to let files grow beyond length, without needing one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("block_bytes", [4096, 512 << 10, 2 << 20, 16 << 20])
def test_data_lies_on_4_kib_borders(tmp_path: Path, block_bytes: int) -> None:
    path = tmp_path / "disk.vhd"
    create_dynamic(path, 64 * MIB, block_bytes)
    image = open_disk(f"vhd:{path}", "rw")
    for offset in (0, 20 * MIB, 40 * MIB):
        image.write(offset, memoryview(bytes(512)))
        ((kind, _, position),) = image.plan_of(offset, 512)
        assert kind == "file" and position % 4096 == 0
    image.close()


def test_the_file_ends_with_a_footer_after_each_allocation(make_disk: MakeDisk) -> None:
    disk = make_disk("dynamic", 8 * MIB)
    image = disk.open()
    for offset in range(0, 8 * MIB, 2 * MIB):
        image.write(offset, memoryview(bytes(512)))
        content = disk.path.read_bytes()
        assert content[-512:] == content[:512]
    image.close()


def test_the_bitmap_of_a_dynamic_disk_is_all_ones(make_disk: MakeDisk) -> None:
    disk = make_disk("dynamic", 8 * MIB)
    image = disk.open()
    image.write(2 * MIB, memoryview(bytes(512)))
    image.close()
    content = disk.path.read_bytes()
    (sector,) = struct.unpack_from(">I", content, 1536 + 4)
    assert content[sector * 512 : sector * 512 + 512] == b"\xff" * 512


def test_the_bitmap_of_a_differencing_disk_has_the_sectors_written(make_disk: MakeDisk) -> None:
    disk = make_disk("differencing", 8 * MIB)
    image = disk.open()
    image.write(2 * MIB + 512, memoryview(bytes(1024)))
    image.close()
    image = disk.open("r")
    assert image.plan_of(2 * MIB, 2048) == [
        ("zero", 512, 0),
        ("file", 1024, image.plan_of(2 * MIB + 512, 512)[0][2]),
        ("zero", 512, 0),
    ]
    image.close()


def test_before_a_flush_the_tables_in_the_file_are_the_old_ones(make_disk: MakeDisk) -> None:
    disk = make_disk("differencing", 8 * MIB)
    image = disk.open()
    tables = disk.path.read_bytes()[:4096]
    image.write(0, memoryview(b"x" * 512))
    assert disk.path.read_bytes()[:3584] == tables[:3584]
    image.flush()
    assert disk.path.read_bytes()[:3584] != tables[:3584]
    image.close()


@pytest.mark.parametrize("kind", ["dynamic", "differencing"])
def test_a_write_that_finds_no_room_changes_nothing_and_may_succeed_later(make_disk: MakeDisk, kind: str) -> None:
    disk = make_disk(kind, 8 * MIB)
    image = disk.open()
    image.write(0, memoryview(b"a" * 1024))
    image.flush()
    before = disk.path.read_bytes()
    with file_size_limit(disk.path.stat().st_size + MIB):
        with pytest.raises(ImageError, match="Could not write data"):
            image.write(2 * MIB, memoryview(b"b" * 512))
        image.write(0, memoryview(b"A" * 512))
        image.flush()
    assert image.read(2 * MIB, 512) == bytes(512)
    assert disk.path.read_bytes() == before.replace(b"a" * 1024, b"A" * 512 + b"a" * 512)
    image.write(2 * MIB, memoryview(b"b" * 512))
    image.close()
    image = disk.open("r")
    assert image.read(0, 1024) == b"A" * 512 + b"a" * 512
    assert image.read(2 * MIB, 512) == b"b" * 512
    image.close()


def test_an_unaligned_write_is_refused(make_disk: MakeDisk) -> None:
    image = make_disk("differencing", 8 * MIB).open()
    for offset, length in ((1, 512), (0, 100)):
        with pytest.raises(ImageError, match="Invalid argument"):
            image.write(offset, memoryview(bytes(length)))
        with pytest.raises(ImageError, match="Invalid argument"):
            image.discard(offset, length)
    image.close()


def test_a_closed_image_answers_with_an_error(make_disk: MakeDisk) -> None:
    image = make_disk("differencing", 8 * MIB).open()
    image.close()
    image.close()
    for use in (
        lambda: image.read(0, 512),
        lambda: image.write(0, memoryview(bytes(512))),
        image.flush,
        lambda: image.plan_of(0, 512),
    ):
        with pytest.raises(ImageError, match="Bad file descriptor"):
            use()


@pytest.mark.parametrize("kind", ["dynamic", "differencing"])
def test_writers_and_flushes_side_by_side_lose_nothing(make_disk: MakeDisk, kind: str) -> None:
    """Four threads write sectors of their own all over the disk while a fifth flushes; then all is read
    back."""
    disk = make_disk(kind, 64 * MIB)
    image = disk.open()
    sectors = 64 * MIB // 512
    writers = 4
    done = threading.Event()
    written: list[dict[int, bytes]] = [{} for _ in range(writers)]

    def write(number: int) -> None:
        choose = random.Random(number)
        for turn in range(400):
            sector = choose.randrange(sectors // writers) * writers + number
            data = struct.pack(">II", number, turn) * 64
            image.write(sector * 512, memoryview(data))
            assert image.read(sector * 512, 512) == data
            written[number][sector] = data

    def flush() -> None:
        while not done.is_set():
            image.flush()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    flusher = threading.Thread(target=flush)
    flusher.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    flusher.join()
    image.close()
    image = disk.open("r")
    for part in written:
        for sector, data in part.items():
            assert image.read(sector * 512, 512) == data
    image.close()


def test_a_fresh_child_of_a_large_disk_has_small_tables_in_memory(tmp_path: Path) -> None:
    """30 GiB have 15,360 blocks; a node that has written nothing must not pay for them."""
    parent = tmp_path / "golden.vhd"
    create_dynamic(parent, 30 << 30)
    child = tmp_path / "child.vhd"
    create_differencing(child, parent)
    opener = Opener()
    open_disk(f"vhd:{child}", "rw", opener).close()
    before = _resident_bytes()
    copies = []
    for number in range(20):
        copy = tmp_path / f"{number}.vhd"
        create_differencing(copy, parent)
        copies.append(open_disk(f"vhd:{copy}", "rw", opener))
    assert (_resident_bytes() - before) / len(copies) < 32 * 1024
    for image in copies:
        image.close()
    opener.close()


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
