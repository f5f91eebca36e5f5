"""The file system that the power cuts rely on: it behaves as one, and loses what was not synced and nothing else."""

import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import threading
from pathlib import Path

import pytest

from tests.faults.filesystem import FaultFs

PUNCH_HOLE_KEEP_SIZE = 3
OLD, NEW = b"o" * 4096, b"n" * 4096


def sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def write(path: Path, data: bytes, offset: int = 0, *, sync: bool = False) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(descriptor, data, offset)
    if sync:
        os.fsync(descriptor)
    os.close(descriptor)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def cut_again(filesystem: FaultFs, seed: int) -> Path:
    """Cuts, and gives the backing folder as it is then."""
    filesystem.cut(seed)
    filesystem.unmount()
    return filesystem.backing


def test_it_is_a_file_system(filesystem: FaultFs) -> None:
    there = filesystem.path
    (there / "folder").mkdir()
    write(there / "folder" / "file", OLD)
    (there / "file").hardlink_to(there / "folder" / "file")
    (there / "link").symlink_to("folder/file")
    os.mkfifo(there / "pipe")
    (there / "file").chmod(0o400)
    os.utime(there / "file", ns=(5, 1234567891))
    os.setxattr(there / "file", "user.kind", b"test")
    (there / "folder" / "file").rename(there / "moved")
    with (there / "moved").open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.posix_fallocate(file.fileno(), 0, 1 << 20)
        with mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
            os.pwritev(file.fileno(), [NEW], 8192, os.RWF_DSYNC)
            assert mapped[8192 : 8192 + 4096] == NEW and mapped[:4096] == OLD
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 0 and os.lseek(file.fileno(), 8192, os.SEEK_HOLE) == 12288
        assert os.copy_file_range(file.fileno(), file.fileno(), 4096, 0, 65536) == 4096
        assert os.pread(file.fileno(), 4096, 65536) == OLD
        file.truncate(70000)
    assert names(there) == ["file", "folder", "link", "moved", "pipe"]
    assert os.statvfs(there).f_bavail > 0
    with pytest.raises(OSError, match="not empty"):
        write(there / "folder" / "other", OLD)
        (there / "folder").rmdir()
    filesystem.end()
    found = filesystem.backing
    assert (found / "moved").read_bytes()[8192:12288] == NEW and (found / "moved").stat().st_size == 70000
    assert (found / "moved").samefile(found / "file") and (found / "link").readlink() == Path("folder/file")
    assert (found / "file").stat().st_mode & 0o777 == 0o400
    assert os.getxattr(found / "file", "user.kind") == b"test"
    assert (found / "pipe").is_fifo() and names(found / "folder") == ["other"]


@pytest.mark.parametrize("writeback", [False, True])
@pytest.mark.parametrize("order", ["strict", "journal"])
def test_synced_data_survives_every_cut(program: Path, folder: Path, writeback: bool, order: str) -> None:
    (folder / "backing").mkdir()
    for seed in range(12):
        with FaultFs(program, folder, writeback=writeback, order=order) as filesystem:
            file = filesystem.path / f"file{seed}"
            write(file, OLD * 8)
            write(file, NEW, 8192, sync=True)
            sync_folder(filesystem.path)
            write(file, b"x" * 512, 512)
            filesystem.cut(seed)
        for earlier in range(seed + 1):
            found = (folder / "backing" / f"file{earlier}").read_bytes()
            assert len(found) == 32768 and found[8192:12288] == NEW and found[12288:] == OLD * 5
            assert found[512:1024] in (OLD[:512], b"x" * 512)


def outcomes(program: Path, folder: Path, seeds: int, *, order: str = "strict") -> list[dict[str, bytes]]:
    """What the same unsynced work leaves behind after cuts of many seeds."""
    (folder / "backing").mkdir()
    write(folder / "backing" / "file", OLD * 4)
    write(folder / "backing" / "removed", OLD)
    kept = folder / "kept"
    shutil.copytree(folder / "backing", kept)
    found = []
    for seed in range(seeds):
        shutil.rmtree(folder / "backing")
        shutil.copytree(kept, folder / "backing")
        with FaultFs(program, folder, order=order) as filesystem:
            write(filesystem.path / "file", NEW * 2)
            write(filesystem.path / "file", b"z" * 4096, 2048)
            write(filesystem.path / "made", NEW)
            (filesystem.path / "made").rename(filesystem.path / "renamed")
            (filesystem.path / "removed").unlink()
            filesystem.cut(seed)
        found.append({path.name: path.read_bytes() for path in (folder / "backing").iterdir()})
    return found


def test_what_was_not_synced_is_lost_torn_or_kept_by_seed(program: Path, folder: Path) -> None:
    found = outcomes(program, folder, 60)
    files = {one["file"] for one in found}
    assert OLD * 4 in files, "nothing survived, once"
    assert NEW[:2048] + b"z" * 4096 + NEW[2048:4096][:2048] + OLD * 2 in files, "everything survived, once"
    torn = [one for one in files if one[2048:2560] == b"z" * 512 and one[2560:3072] != b"z" * 512]
    assert torn, "the disk stopped between two sectors of one write"
    for one in files:
        for at in range(0, 16384, 512):
            assert one[at : at + 512] in {b"o" * 512, b"n" * 512, b"z" * 512}
    assert len(files) > 20


def test_names_that_were_not_synced_are_lost_or_kept_by_seed(program: Path, folder: Path) -> None:
    found = outcomes(program, folder, 60)
    kinds = {frozenset(one) for one in found}
    assert kinds == {
        frozenset({"file", *made, *removed}) for made in ((), ("made",), ("renamed",)) for removed in ((), ("removed",))
    }


def test_a_journal_brings_names_to_the_disk_in_their_order(program: Path, folder: Path) -> None:
    for one in outcomes(program, folder, 40, order="journal"):
        assert "removed" in one or "renamed" in one


def test_the_same_seed_has_the_same_outcome(program: Path, folder: Path) -> None:
    (folder / "1").mkdir()
    (folder / "2").mkdir()
    assert outcomes(program, folder / "1", 10) == outcomes(program, folder / "2", 10)


def test_a_name_is_not_synced_with_its_file(program: Path, folder: Path) -> None:
    found = set()
    for seed in range(20):
        with FaultFs(program, folder) as filesystem:
            write(filesystem.path / f"file{seed}", NEW, sync=True)
            filesystem.cut(seed)
        found.add((folder / "backing" / f"file{seed}").exists())
    assert found == {True, False}


def test_a_synced_rename_brings_what_it_needs(filesystem: FaultFs) -> None:
    there = filesystem.path
    (there / "from").mkdir()
    (there / "to").mkdir()
    sync_folder(there)
    write(there / "from" / "file", NEW, sync=True)
    (there / "from" / "file").rename(there / "to" / "file")
    sync_folder(there / "to")
    found = cut_again(filesystem, 1)
    assert (found / "to" / "file").read_bytes() == NEW and names(found / "from") == []


def test_a_punched_hole_is_lost_or_kept_by_sectors(program: Path, folder: Path) -> None:
    seen = set()
    for seed in range(40):
        with FaultFs(program, folder) as filesystem:
            write(filesystem.path / "file", OLD * 4, sync=True)
            sync_folder(filesystem.path)
            punch(filesystem.path / "file", 4096, 8192)
            filesystem.cut(seed)
        data = (folder / "backing" / "file").read_bytes()
        assert data[:4096] == data[12288:] == OLD
        seen |= {data[at : at + 512] for at in range(4096, 12288, 512)}
    assert seen == {bytes(512), OLD[:512]}


def punch(path: Path, offset: int, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    with path.open("r+b") as file:
        assert libc.fallocate(file.fileno(), PUNCH_HOLE_KEEP_SIZE, offset, length) == 0, ctypes.get_errno()


def test_a_shortened_file_has_one_length_or_the_other(program: Path, folder: Path) -> None:
    seen = set()
    for seed in range(40):
        with FaultFs(program, folder) as filesystem:
            write(filesystem.path / "file", OLD * 4, sync=True)
            sync_folder(filesystem.path)
            os.truncate(filesystem.path / "file", 4096)
            write(filesystem.path / "file", NEW, 8192)
            filesystem.cut(seed)
        data = (folder / "backing" / "file").read_bytes()
        seen.add(len(data))
        assert data in (OLD * 4, OLD) or not data[4096:8192].strip(b"\0")
        (folder / "backing" / "file").unlink()
    assert seen == {16384, 4096, 12288}


def test_a_file_system_that_lies_about_fsync_loses_synced_data(program: Path, folder: Path) -> None:
    lost = 0
    for seed in range(10):
        with FaultFs(program, folder) as filesystem:
            write(filesystem.path / "file", OLD)
            filesystem.tell("lie on")
            write(filesystem.path / "file", NEW, sync=True)
            sync_folder(filesystem.path)
            filesystem.cut(seed)
        file = folder / "backing" / "file"
        lost += not file.exists() or file.read_bytes() != NEW
        file.unlink(missing_ok=True)
    assert lost


def test_after_a_cut_everything_fails(filesystem: FaultFs) -> None:
    descriptor = os.open(filesystem.path / "file", os.O_RDWR | os.O_CREAT)
    filesystem.cut(1)
    for change in (lambda: os.pwrite(descriptor, NEW, 0), lambda: os.fsync(descriptor)):
        with pytest.raises(OSError) as failed:
            change()
        assert failed.value.errno == errno.EIO
    os.close(descriptor)


def test_a_cut_comes_before_the_request_that_it_was_armed_for(filesystem: FaultFs) -> None:
    descriptor = os.open(filesystem.path / "file", os.O_RDWR | os.O_CREAT)
    filesystem.tell("cut-after 3 7")
    os.pwrite(descriptor, OLD, 0)
    os.fsync(descriptor)
    with pytest.raises(OSError):
        os.pwrite(descriptor, NEW, 0)
    assert filesystem.is_dead()
    os.close(descriptor)


@pytest.mark.parametrize(
    ("rule", "number"),
    [
        ("op=write path=*/file errno=ENOSPC nth=2 count=1", errno.ENOSPC),
        ("op=write from=4096 to=8192 errno=ENODATA count=1", errno.ENODATA),
    ],
)
def test_a_request_fails_as_told(filesystem: FaultFs, rule: str, number: int) -> None:
    descriptor = os.open(filesystem.path / "file", os.O_RDWR | os.O_CREAT)
    filesystem.tell(f"rule one fail {rule}")
    os.pwrite(descriptor, OLD, 0)
    with pytest.raises(OSError) as failed:
        os.pwrite(descriptor, NEW, 4096)
    assert failed.value.errno == number
    assert os.pwrite(descriptor, NEW, 4096) == 4096
    assert filesystem.tell("hits one") == "1"
    os.close(descriptor)


def test_a_lost_write_back_is_told_once_and_the_next_fsync_succeeds(filesystem: FaultFs) -> None:
    descriptor = os.open(filesystem.path / "file", os.O_RDWR | os.O_CREAT)
    sync_folder(filesystem.path)
    os.pwrite(descriptor, OLD, 0)
    os.fsync(descriptor)
    filesystem.tell("rule full lose op=fsync errno=ENOSPC count=1")
    os.pwrite(descriptor, NEW, 0)
    with pytest.raises(OSError) as failed:
        os.fsync(descriptor)
    assert failed.value.errno == errno.ENOSPC
    os.fsync(descriptor)
    assert os.pread(descriptor, 4096, 0) == NEW, "the pages in memory count as clean"
    os.close(descriptor)
    assert (cut_again(filesystem, 1) / "file").read_bytes() == OLD


def test_a_request_hangs_until_it_is_released(filesystem: FaultFs) -> None:
    write(filesystem.path / "file", OLD)
    filesystem.tell("rule stuck hang op=write path=/file")
    waiting = threading.Thread(target=write, args=(filesystem.path / "file", NEW))
    waiting.start()
    write(filesystem.path / "other", NEW)
    while filesystem.tell("hits stuck") != "1":
        waiting.join(0.01)
    waiting.join(0.1)
    assert waiting.is_alive()
    filesystem.tell("clear stuck")
    waiting.join()
    assert (filesystem.path / "file").read_bytes() == NEW
