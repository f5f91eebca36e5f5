"""FileImage: a byte range of a file as a disk, and the door through which image files are opened."""

import os
import time
from pathlib import Path

import pytest
from goldherd.block.file import FileImage
from goldherd.errors import ImageError
from goldherd.files.locks import open_locked
from goldherd.files.newfile import new_file
from goldherd.limits import GRANULE_BYTES

MIB = 1 << 20


def image_of(path: Path, mode: str = "rw", **options: int) -> FileImage:
    fd = open_locked(path, mode)
    start = options.get("start", 0)
    size_bytes = options.get("size_bytes", path.stat().st_size - start)
    return FileImage(fd, size_bytes, start=start, read_only=mode == "r", path=str(path))


def warm_plan(image: FileImage, offset: int, length: int) -> list[tuple[str, int, int]] | str:
    """The plan once no fetch is under way, as a reactor sees it after the notification."""
    deadline = time.monotonic() + 60
    while (plan := image.plan_of(offset, length)) == "cold":
        assert time.monotonic() < deadline, "the fetch never came"
        time.sleep(0.001)
    return plan


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(os.urandom(3 * GRANULE_BYTES + 1024))
    return path


def test_load_reads_the_bytes_of_the_file(disk: Path) -> None:
    image = image_of(disk, "r")
    assert image.read(512, 2048) == disk.read_bytes()[512:2560]
    image.close()


def test_a_range_begins_at_start(disk: Path) -> None:
    image = image_of(disk, "rw", start=512, size_bytes=1024)
    image.write(0, memoryview(b"x" * 512))
    image.close()
    assert disk.read_bytes()[512:1024] == b"x" * 512


def test_a_range_that_starts_inside_a_page_is_planned(disk: Path) -> None:
    image = image_of(disk, "r", start=512, size_bytes=3 * GRANULE_BYTES)
    assert warm_plan(image, 0, 4096) == [("memory", 4096, 0)]
    image.close()


def test_plan_of_a_fresh_image_is_cold_and_then_memory(disk: Path) -> None:
    image = image_of(disk, "r")
    assert image.plan_of(0, 4096) == "cold"
    assert warm_plan(image, 0, 4096) == [("memory", 4096, 0)]
    image.close()


def test_plan_gives_the_resident_prefix_and_fetches_the_rest(disk: Path) -> None:
    image = image_of(disk, "r")
    warm_plan(image, 0, 512)
    plan = image.plan_of(GRANULE_BYTES - 512, 1024)
    assert plan in ([("memory", 512, 0)], [("memory", 1024, 0)])
    assert warm_plan(image, GRANULE_BYTES, 512) == [("memory", 512, 0)]
    assert image.plan_of(GRANULE_BYTES - 512, 1024) == [("memory", 1024, 0)]
    image.close()


def test_a_cold_range_over_several_granules_asks_for_all_of_them(disk: Path) -> None:
    image = image_of(disk, "r")
    size = image.size_bytes
    assert image.plan_of(0, size) == "cold"
    while warm_plan(image, 0, size) != [("memory", size, 0)]:
        time.sleep(0.001)
    image.close()


def test_a_truncated_file_is_planned_as_blocking_and_load_gives_the_error(disk: Path) -> None:
    image = image_of(disk, "r")
    os.truncate(disk, GRANULE_BYTES)
    assert warm_plan(image, 2 * GRANULE_BYTES, 512) == "blocking"
    with pytest.raises(ImageError, match="Could not read data"):
        image.read(2 * GRANULE_BYTES, 512)
    image.close()


def test_refresh_gives_a_failed_granule_another_chance(disk: Path) -> None:
    image = image_of(disk, "r")
    os.truncate(disk, GRANULE_BYTES)
    assert warm_plan(image, 2 * GRANULE_BYTES, 512) == "blocking"
    os.truncate(disk, image.size_bytes)
    image.refresh()
    assert warm_plan(image, 2 * GRANULE_BYTES, 512) == [("memory", 512, 0)]
    image.close()


def test_refresh_marks_evicted_granules_absent(disk: Path) -> None:
    image = image_of(disk, "rw")
    warm_plan(image, 0, 512)
    assert image.refresh() == 0
    # Punching the file behind the image's back takes its pages out of the cache, as memory pressure would.
    image2 = os.open(disk, os.O_RDWR)
    os.ftruncate(image2, 0)
    os.ftruncate(image2, image.size_bytes)
    os.close(image2)
    assert image.refresh() == 1
    assert warm_plan(image, 0, 512) == [("memory", 512, 0)]
    image.close()


def test_write_is_seen_by_read_and_by_the_file(disk: Path) -> None:
    image = image_of(disk)
    image.write(1024, memoryview(b"y" * 1024))
    image.flush()
    assert image.read(512, 2048)[512:1536] == b"y" * 1024
    assert disk.read_bytes()[1024:2048] == b"y" * 1024
    image.close()


def test_write_to_a_read_only_image_is_refused(disk: Path) -> None:
    image = image_of(disk, "r")
    with pytest.raises(ImageError, match="Read-only file system"):
        image.write(0, memoryview(bytes(512)))
    with pytest.raises(ImageError, match="Read-only file system"):
        image.discard(0, 512)
    image.close()


def test_discard_reads_as_zeros_and_gives_space_back(disk: Path) -> None:
    image = image_of(disk)
    image.flush()
    before = image.describe()["allocated_bytes"]
    warm_plan(image, 0, 4096)
    image.discard(512, 2 * GRANULE_BYTES)
    image.flush()
    after = image.describe()["allocated_bytes"]
    assert image.read(512, 2 * GRANULE_BYTES) == bytes(2 * GRANULE_BYTES)
    assert image.read(0, 512) == disk.read_bytes()[:512] != bytes(512)
    assert isinstance(before, int) and isinstance(after, int) and after < before
    assert warm_plan(image, 0, 4096) == [("memory", 4096, 0)]
    image.close()


def test_extent_tells_holes_from_data(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(4 * MIB)
        file.seek(MIB)
        file.write(b"z" * MIB)
        file.flush()
        os.fsync(file.fileno())
    image = image_of(path)
    assert image.extent_at(0, 4 * MIB) == (MIB, True)
    assert image.extent_at(MIB, 3 * MIB) == (MIB, False)
    assert image.extent_at(2 * MIB, 2 * MIB) == (2 * MIB, True)
    assert image.extent_at(2 * MIB, 512) == (512, True)
    image.close()


def test_a_writer_locks_readers_and_writers_out(disk: Path) -> None:
    image = image_of(disk, "rw")
    for mode in ("r", "rw"):
        with pytest.raises(ImageError, match="Stop the other program"):
            open_locked(disk, mode)
    image.close()
    os.close(open_locked(disk, "rw"))


def test_readers_share(disk: Path) -> None:
    first, second = image_of(disk, "r"), image_of(disk, "r")
    with pytest.raises(ImageError, match="another program uses it"):
        open_locked(disk, "rw")
    first.close()
    second.close()


@pytest.mark.parametrize("mode", ["r", "rw"])
def test_what_is_no_file_is_refused(tmp_path: Path, mode: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ImageError, match=r"neither a file nor a block device|No such device"):
        open_locked(tmp_path / "fifo", mode)
    with pytest.raises(ImageError, match=r"neither a file nor a block device|Is a directory"):
        open_locked(tmp_path, mode)
    with pytest.raises(ImageError, match="No such file"):
        open_locked(tmp_path / "absent", mode)


def test_a_closed_image_answers_with_an_error(disk: Path) -> None:
    image = image_of(disk)
    image.close()
    with pytest.raises(ImageError, match="Bad file descriptor"):
        image.read(0, 512)
    with pytest.raises(ImageError, match="Bad file descriptor"):
        image.plan_of(0, 512)


def test_a_new_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new"
    with pytest.raises(RuntimeError), new_file(path) as fd:
        os.write(fd, b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with new_file(path) as fd:
        os.write(fd, b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_never_replaces_one(tmp_path: Path) -> None:
    path = tmp_path / "new"
    with pytest.raises(ImageError, match="exists already"), new_file(path) as fd:
        os.write(fd, b"mine")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    with pytest.raises(ImageError, match="exists already"), new_file(path):
        pass
    assert list(tmp_path.iterdir()) == [path]
