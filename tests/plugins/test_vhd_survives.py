"""What a VHD has answered survives its process: tables that were not flushed lie in memory that outlives it."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from goldherd.errors import ImageError
from goldherd.files import outliving
from goldherd.files.failed import failure_of, mark, remove_mark
from goldherd_plugins.vhd.create import create_differencing, create_dynamic
from goldherd_plugins.vhd.left import words_at

from tests.plugins.conftest import Opener, open_disk

MIB = 1 << 20
SIZE = 64 * MIB
WRITER = Path(__file__).with_name("killed_writer.py")
BLOCK = 4096
"""Sectors of a block."""


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A service's own folder in memory; the files of disks lie in a folder of it."""
    folder = Path(tempfile.mkdtemp(prefix="survives-", dir="/dev/shm"))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder))
    yield folder / "disks"
    shutil.rmtree(folder)


@pytest.fixture(params=["dynamic", "differencing"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An empty disk; that of a differencing one reads as "parent" everywhere."""
    path = tmp_path / "disk.vhd"
    if request.param == "dynamic":
        create_dynamic(path, SIZE)
        return path
    create_dynamic(tmp_path / "parent.vhd", SIZE)
    image = open_disk(f"vhd:{tmp_path / 'parent.vhd'}", "rw")
    image.write(0, memoryview(b"parent10" * (SIZE // 8)))
    image.close()
    create_differencing(path, tmp_path / "parent.vhd")
    return path


def killed(disk: Path, sectors: dict[int, int]) -> None:
    """A process writes numbers to sectors and is killed -9."""
    words = [str(word) for pair in sectors.items() for word in pair]
    done = subprocess.run(
        [sys.executable, WRITER, disk, *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -9 and done.stdout.endswith(b"written\n"), done.stderr.decode()


def sector(number: int) -> bytes:
    return number.to_bytes(8, "big") * 64


def read(disk: Path, sectors: list[int], mode: str = "r") -> list[bytes]:
    opener = Opener()
    image = open_disk(f"vhd:{disk}", mode, opener)
    try:
        return [image.read(at * 512, 512) for at in sectors]
    finally:
        image.close()
        opener.close()


def empty(disk: Path) -> bytes:
    """A sector that was never written."""
    return b"parent10" * 64 if (disk.parent / "parent.vhd").exists() else bytes(512)


WRITTEN = {5: 1, 6: 2, BLOCK + 100: 3, 10 * BLOCK: 4}


@pytest.mark.parametrize("mode", ["r", "rw"])
def test_writes_of_a_killed_process_are_there(disk: Path, memory: Path, mode: str) -> None:
    killed(disk, WRITTEN)
    assert len(list(memory.iterdir())) == 1
    assert read(disk, [*WRITTEN, 4, 7], mode) == [*map(sector, WRITTEN.values()), empty(disk), empty(disk)]
    assert len(list(memory.iterdir())) == (1 if mode == "r" else 0)


def test_reading_changes_nothing(disk: Path, memory: Path) -> None:
    killed(disk, WRITTEN)
    before = disk.read_bytes(), [path.read_bytes() for path in memory.iterdir()]
    read(disk, [0])
    assert (disk.read_bytes(), [path.read_bytes() for path in memory.iterdir()]) == before


def test_what_was_taken_over_is_in_the_file(disk: Path, memory: Path) -> None:
    killed(disk, WRITTEN)
    read(disk, [0], "rw")
    shutil.rmtree(memory)
    assert read(disk, [*WRITTEN]) == [*map(sector, WRITTEN.values())]


def test_killed_again_and_again(disk: Path, memory: Path) -> None:
    everything: dict[int, int] = {}
    for number in range(1, 6):
        now = {at: 10 * number + at for at in (number, 7, number * BLOCK, 20 * BLOCK + number)}
        killed(disk, now)
        everything |= now
    assert read(disk, [*everything], "rw") == [*map(sector, everything.values())]
    assert list(memory.iterdir()) == []


def test_a_power_cut_takes_them_away(disk: Path, memory: Path) -> None:
    """The attribute of the file may still name the memory."""
    killed(disk, WRITTEN)
    shutil.rmtree(memory)
    assert read(disk, [*WRITTEN], "rw") == [empty(disk)] * len(WRITTEN)


def test_an_end_in_good_order_leaves_nothing(disk: Path, memory: Path) -> None:
    image = open_disk(f"vhd:{disk}", "rw", Opener())
    image.write(0, memoryview(sector(1)))
    assert len(list(memory.iterdir())) == 1
    image.close()
    assert list(memory.iterdir()) == []
    assert outliving.ATTRIBUTE not in os.listxattr(disk)


def test_a_growth_that_was_cut_short_is_mended(disk: Path, memory: Path) -> None:
    """Killed between the file's growth and the footer at its new end."""
    killed(disk, WRITTEN)
    with disk.open("r+b") as file:
        file.truncate(disk.stat().st_size + 2 * MIB)
    assert read(disk, [*WRITTEN], "rw") == [*map(sector, WRITTEN.values())]
    assert read(disk, [*WRITTEN]) == [*map(sector, WRITTEN.values())]


def test_another_folder_of_the_next_process(disk: Path, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file itself says where its memory is."""
    killed(disk, WRITTEN)
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    assert read(disk, [*WRITTEN], "rw") == [*map(sector, WRITTEN.values())]
    assert list(memory.iterdir()) == []


def test_a_file_system_without_attributes(disk: Path, memory: Path) -> None:
    killed(disk, WRITTEN)
    os.removexattr(disk, outliving.ATTRIBUTE)
    assert read(disk, [*WRITTEN]) == [*map(sector, WRITTEN.values())]


def forge(memory: Path, at: int, data: bytes, *, checked: bool = True) -> None:
    """Changes the one file of memory, its checksum included."""
    (path,) = memory.iterdir()
    raw = bytearray(path.read_bytes())
    raw[at : at + len(data)] = data
    if checked:
        raw[80:88] = struct.pack("=Q", zlib.crc32(raw[:80]))
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("at", "data", "checked"),
    [
        (8, bytes(range(16)), True),
        (32, bytes(8), True),
        (40, bytes(32), True),
        (72, bytes(4), False),
        (0, b"ghmem99\0", True),
        (96, bytes(8), True),
    ],
    ids=["another boot", "another inode", "another disk", "a torn header", "another version", "a failed disk"],
)
def test_memory_that_is_not_this_disks(disk: Path, memory: Path, at: int, data: bytes, checked: bool) -> None:
    killed(disk, WRITTEN)
    forge(memory, at, data, checked=checked)
    assert read(disk, [*WRITTEN], "r") == [empty(disk)] * len(WRITTEN)
    assert read(disk, [*WRITTEN], "rw") == [empty(disk)] * len(WRITTEN)


@pytest.mark.parametrize("size_bytes", [0, 100, 200, words_at(SIZE // (2 * MIB)) - 4096])
def test_memory_that_is_cut_short(disk: Path, memory: Path, size_bytes: int) -> None:
    killed(disk, WRITTEN)
    (path,) = memory.iterdir()
    os.truncate(path, size_bytes)
    assert read(disk, [*WRITTEN], "rw") == [empty(disk)] * len(WRITTEN)


def test_memory_that_contradicts_the_file(disk: Path, memory: Path) -> None:
    """A place of a block that lies on the file's own tables."""
    killed(disk, WRITTEN)
    forge(memory, outliving.HEADER_BYTES, struct.pack("=I", 1))
    assert read(disk, [*WRITTEN], "rw") == [empty(disk)] * len(WRITTEN)


def test_a_new_disk_in_the_file_of_the_old(disk: Path, memory: Path) -> None:
    """Same inode, same moment: the identity tells them apart."""
    other = disk.with_name("other.vhd")
    create_dynamic(other, SIZE)
    killed(disk, WRITTEN)
    disk.write_bytes(other.read_bytes())
    assert read(disk, [*WRITTEN], "rw") == [bytes(512)] * len(WRITTEN)


def test_a_backup_that_was_restored_in_place(disk: Path, memory: Path) -> None:
    backup = disk.read_bytes()
    killed(disk, WRITTEN)
    disk.write_bytes(backup)
    later = disk.stat().st_mtime + 60
    os.utime(disk, (later, later))
    assert read(disk, [*WRITTEN], "rw") == [empty(disk)] * len(WRITTEN)


def test_a_copy_is_another_file(disk: Path, memory: Path) -> None:
    """Even one that took the attributes along; and the memory of the original stays."""
    killed(disk, WRITTEN)
    copy = disk.with_name("copy.vhd")
    shutil.copy2(disk, copy)
    assert outliving.ATTRIBUTE in os.listxattr(copy)
    assert read(copy, [*WRITTEN], "rw") == [empty(disk)] * len(WRITTEN)
    assert read(disk, [*WRITTEN], "rw") == [*map(sector, WRITTEN.values())]


def test_a_failed_disk_shows_its_last_flush(disk: Path, memory: Path) -> None:
    """The data that later tables speak of may be lost; so it stays when the mark is taken away."""
    killed(disk, WRITTEN)
    mark(disk, failure_of(5))
    assert read(disk, [*WRITTEN], "rw") == [empty(disk)] * len(WRITTEN)
    remove_mark(disk)
    assert read(disk, [*WRITTEN], "rw") == [empty(disk)] * len(WRITTEN)


def test_two_processes(disk: Path, memory: Path) -> None:
    """While a process has the disk open, its memory is nobody else's."""
    image = open_disk(f"vhd:{disk}", "rw", Opener())
    image.write(0, memoryview(sector(1)))
    for mode in ("r", "rw"):
        with pytest.raises(ImageError, match="another program"):
            read(disk, [0], mode)
    assert len(list(memory.iterdir())) == 1
    image.close()


def test_without_such_memory_disks_work(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goldherd.files.outliving.memory_folder", lambda: None)
    image = open_disk(f"vhd:{disk}", "rw", Opener())
    image.write(0, memoryview(sector(1)))
    image.close()
    assert read(disk, [0], "rw") == [sector(1)]


def test_memory_that_runs_out(disk: Path, memory: Path) -> None:
    """A tmpfs of 16 pages: the disk goes on without it, and is not ended by SIGBUS."""
    memory.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", memory.parent], check=True)
    try:
        sectors = {at * BLOCK + at: at + 1 for at in range(SIZE // (2 * MIB))}
        filler = memory.parent / "filler"
        image = open_disk(f"vhd:{disk}", "rw", Opener())
        with filler.open("wb") as file, pytest.raises(OSError, match="No space"):
            file.write(bytes(1 << 20))
        for at, number in sectors.items():
            image.write(at * 512, memoryview(sector(number)))
        image.close()
        assert read(disk, [*sectors]) == [*map(sector, sectors.values())]
    finally:
        subprocess.run(["umount", "-l", memory.parent], check=True)


def test_no_more_memory_is_taken_than_is_used(disk: Path, memory: Path) -> None:
    """A page for each kind of table, whatever the size of the disk, and no descriptor."""
    opener = Opener()
    image = open_disk(f"vhd:{disk}", "rw", opener)
    image.write(0, memoryview(sector(1)))
    (path,) = memory.iterdir()
    assert path.stat().st_blocks * 512 <= 8192
    assert not [entry for entry in Path("/proc/self/fd").iterdir() if os.path.realpath(entry).startswith(str(memory))]
    image.close()
    opener.close()
