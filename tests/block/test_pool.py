"""The threads that may sleep, seen through what uses them."""

import threading
import time
from pathlib import Path

import pytest
from goldherd.block.golden import GoldenCache
from goldherd.block.image import Image, NativeImage
from goldherd.block.pool import Pool
from goldherd.limits import GRANULE_BYTES, LANE_JOBS_MAX, PYTHON_THREADS


class Meeting(Image):
    """Every read waits until so many reads are there."""

    def __init__(self, guests: int) -> None:
        super().__init__(64 * GRANULE_BYTES, read_only=True)
        self.barrier = threading.Barrier(guests)
        self.threads: set[int] = set()

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        self.barrier.wait(30)
        self.threads.add(threading.get_ident())
        target[:] = b"\1" * len(target)


def until_memory(image: NativeImage, granule: int) -> None:
    """Waits for the fetch of a granule."""
    deadline = time.monotonic() + 30
    while image.plan_of(granule * GRANULE_BYTES, 512) == "cold":
        assert time.monotonic() < deadline, "the fetch never came"
        time.sleep(0.001)


def test_a_pool_has_the_threads_it_was_given() -> None:
    pool = Pool("test", 3)
    assert (pool.name, pool.thread_count) == ("test", 3)


def test_a_pool_without_a_name_is_refused() -> None:
    with pytest.raises(TypeError):
        Pool(7, 1)  # type: ignore[arg-type]


def test_jobs_run_side_by_side_on_all_threads() -> None:
    source = Meeting(PYTHON_THREADS)
    golden = GoldenCache(32 * GRANULE_BYTES).adopt(source)
    for granule in range(PYTHON_THREADS):
        assert golden.plan_of(granule * GRANULE_BYTES, 512) == "cold"
    for granule in range(PYTHON_THREADS):
        until_memory(golden, granule)
    assert len(source.threads) == PYTHON_THREADS
    golden.close()


def test_more_jobs_than_threads_are_all_done() -> None:
    golden = GoldenCache(128 * GRANULE_BYTES).adopt(Meeting(1))
    for granule in range(64):
        golden.plan_of(granule * GRANULE_BYTES, 512)
    for granule in range(64):
        until_memory(golden, granule)
    assert golden.resident_bytes == 64 * GRANULE_BYTES
    golden.close()


def test_images_that_hang_leave_threads_to_the_others() -> None:
    """Each holds LANE_JOBS_MAX threads, and the pool starts more."""
    cache = GoldenCache(64 * GRANULE_BYTES)
    stuck = [cache.adopt(Meeting(LANE_JOBS_MAX + 1)) for _ in range(PYTHON_THREADS + 1)]
    for golden in stuck:
        for granule in range(LANE_JOBS_MAX):
            golden.plan_of(granule * GRANULE_BYTES, 512)
    healthy = cache.adopt(Meeting(1))
    for granule in range(8):
        healthy.plan_of(granule * GRANULE_BYTES, 512)
    for granule in range(8):
        until_memory(healthy, granule)
    for golden in stuck:
        assert golden.plan_of(0, 512) == "cold"
        assert isinstance(golden.source, Meeting)
        golden.source.barrier.wait(30)
        golden.close()
    healthy.close()


def test_jobs_of_one_image_beyond_its_share_wait() -> None:
    source = Meeting(LANE_JOBS_MAX)
    golden = GoldenCache(64 * GRANULE_BYTES).adopt(source)
    for granule in range(2 * LANE_JOBS_MAX):  # more at the same time would be too many for the barrier
        golden.plan_of(granule * GRANULE_BYTES, 512)
    for granule in range(2 * LANE_JOBS_MAX):
        until_memory(golden, granule)
    golden.close()


def test_python_backends_run_apart_from_disks(tmp_path: Path) -> None:
    """A plugin that hangs delays plugins only."""
    import os

    from goldherd.block.file import FileImage

    stuck = Meeting(PYTHON_THREADS + 1)
    golden = GoldenCache(32 * GRANULE_BYTES).adopt(stuck)
    for granule in range(PYTHON_THREADS):
        golden.plan_of(granule * GRANULE_BYTES, 512)
    path = tmp_path / "disk"
    path.write_bytes(b"\2" * GRANULE_BYTES)
    disk = FileImage(os.open(path, os.O_RDONLY), GRANULE_BYTES, read_only=True, path=str(path))
    until_memory(disk, 0)
    assert disk.plan_of(0, 512) == [("memory", 512, 0)]
    disk.close()
    stuck.barrier.wait(30)
    golden.close()
