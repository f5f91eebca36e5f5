"""Other people's programs read what we write and write what we read.

Whom to trust with what: 7-Zip with differencing chains beside each other; qemu-img with fixed and dynamic
disks (a child it opens alone, silently); libvhdi with fixed and dynamic disks (in a child's bitmap it takes
every sector behind the first set bit of a byte as present).
"""

import hashlib
import os
import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import pyvhdi
from goldherd.block.image import Image
from goldherd_plugins.vhd import layout
from goldherd_plugins.vhd.create import create_differencing, create_dynamic

from tests.plugins.conftest import Disk, Opener, open_disk

pytestmark = pytest.mark.interop
MIB = 1 << 20
SIZE = 9 * MIB + 512 * 5
MakeDisk = Callable[[str, int], Disk]


def run(*command: str | Path) -> bytes:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def scribble(image: Image, seed: int) -> None:
    """Writes of one to many sectors, at every kind of border, and a few discards."""
    choose = random.Random(seed)
    sectors = image.size_bytes // 512
    for border in (0, 1, 4095, 4096, 8191, sectors - 1):
        image.write(border * 512, memoryview(choose.randbytes(512)))
    for _ in range(60):
        first = choose.randrange(sectors)
        count = min(choose.choice((1, 2, 3, 9, 64, 300)), sectors - first)
        if choose.random() < 0.15:
            image.discard(first * 512, count * 512)
        else:
            image.write(first * 512, memoryview(choose.randbytes(count * 512)))


def content_of(path: Path) -> bytes:
    opener = Opener()
    image = open_disk(f"vhd:{path}", "r", opener)
    data = image.read(0, image.size_bytes)
    image.close()
    opener.close()
    return data


def by_qemu(path: Path) -> bytes:
    raw = path.with_suffix(".qemu")
    run("qemu-img", "convert", "-f", "vpc", "-O", "raw", path, raw)
    return raw.read_bytes()


def by_7zip(path: Path) -> bytes:
    return run("7z", "x", "-so", "-tVHD", path)


def by_libvhdi(path: Path) -> bytes:
    disk = pyvhdi.file()
    disk.open(str(path))
    data = b"".join(
        disk.read_buffer_at_offset(min(65536, disk.get_media_size() - at), at)
        for at in range(0, disk.get_media_size(), 65536)
    )
    disk.close()
    return data


@pytest.mark.parametrize("judge", [by_qemu, by_7zip, by_libvhdi])
@pytest.mark.parametrize("kind", ["fixed", "dynamic"])
def test_a_disk_of_ours_is_read_equal(make_disk: MakeDisk, kind: str, judge: Callable[[Path], bytes]) -> None:
    disk = make_disk(kind, SIZE)
    image = disk.open()
    scribble(image, 1)
    expected = image.read(0, SIZE)
    image.close()
    assert judge(disk.path) == expected


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("block_bytes", [512 << 10, 2 << 20])
def test_a_chain_of_ours_is_read_equal_by_7zip(tmp_path: Path, depth: int, block_bytes: int) -> None:
    path = tmp_path / "golden.vhd"
    create_dynamic(path, SIZE, block_bytes)
    opener = Opener()
    for level in range(depth + 1):
        if level:
            above, path = path, tmp_path / f"child{level}.vhd"
            create_differencing(path, above, block_bytes=block_bytes)
        image = open_disk(f"vhd:{path}", "rw", opener)
        scribble(image, level)
        expected = image.read(0, SIZE)
        image.close()
    opener.close()
    assert hashlib.sha256(by_7zip(path)).digest() == hashlib.sha256(expected).digest()


def test_a_fresh_child_of_ours_is_read_as_its_parent_by_7zip(make_disk: MakeDisk) -> None:
    disk = make_disk("fixed", SIZE)
    image = disk.open()
    scribble(image, 4)
    expected = image.read(0, SIZE)
    image.close()
    child = disk.path.with_name("child.vhd")
    create_differencing(child, disk.path)
    assert by_7zip(child) == expected


def test_a_disk_that_lost_its_tail_is_mended_for_others(make_disk: MakeDisk) -> None:
    disk = make_disk("dynamic", SIZE)
    image = disk.open()
    scribble(image, 5)
    expected = image.read(0, SIZE)
    image.close()
    os.truncate(disk.path, disk.path.stat().st_size - 512)
    disk.open().close()
    assert by_7zip(disk.path) == by_qemu(disk.path) == by_libvhdi(disk.path) == expected


@pytest.mark.parametrize(
    "options",
    [
        "subformat=dynamic",
        "subformat=fixed",
        "subformat=dynamic,force_size=on",
        "subformat=fixed,force_size=on",
    ],
)
def test_a_disk_of_qemu_is_read_and_written(tmp_path: Path, options: str) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(random.Random(6).randbytes(3 * MIB) + bytes(4 * MIB) + b"end!" * 128)
    path = tmp_path / "disk.vhd"
    run("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", options, raw, path)
    expected = raw.read_bytes()
    found = content_of(path)
    assert found[: len(expected)] == expected and not any(found[len(expected) :])
    image = open_disk(f"vhd:{path}", "rw")
    scribble(image, 7)
    image.close()
    assert by_qemu(path) == content_of(path)


def test_two_writers_take_turns(make_disk: MakeDisk) -> None:
    disk = make_disk("dynamic", SIZE)
    for turn in range(3):
        image = disk.open()
        scribble(image, turn)
        expected = bytearray(image.read(0, SIZE))
        image.close()
        at = turn * 3 * MIB + 65536
        run("qemu-io", "-f", "vpc", "-c", f"write -P {turn + 1} {at} 200k", disk.path)
        expected[at : at + 200 * 1024] = bytes([turn + 1]) * 200 * 1024
        assert content_of(disk.path) == expected


@pytest.mark.parametrize("creator", [b"vpc ", b"vs  ", b"d2v\0", b"tap\0", b"CTXS", b"vbox"])
def test_every_creator_gets_its_current_size(tmp_path: Path, creator: bytes) -> None:
    """Geometry of a disk by Virtual PC or VirtualBox may say less than the size; others follow it, we
    don't."""
    path = tmp_path / "disk.vhd"
    run("qemu-img", "create", "-q", "-f", "vpc", "-o", "force_size=on", path, str(SIZE))
    content = bytearray(path.read_bytes())
    for start in (0, len(content) - 512):
        content[start + 28 : start + 32] = creator
        raw = bytes(content[start : start + 512])
        struct.pack_into(">I", content, start + 64, layout.checksum(raw))
    path.write_bytes(content)
    assert content_of(path) == bytes(SIZE)
