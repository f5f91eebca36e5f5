"""Sealed parents in memory: once, fetched once, within a budget, and never wrong."""

import ctypes
import gc
import mmap
import os
import random
import tempfile
import threading
import time
from pathlib import Path

import pytest
from goldherd.block.file import FileImage
from goldherd.block.golden import GoldenCache, GoldenImage
from goldherd.block.image import Image
from goldherd.errors import ImageError
from goldherd.limits import GRANULE_BYTES

CONTENT = random.Random(11).randbytes(20 * GRANULE_BYTES + 1024)


class Source(Image):
    """Counts how often each granule is read; may be broken, slow, or gone wrong halfway."""

    def __init__(self, content: bytes = CONTENT) -> None:
        super().__init__(len(content), read_only=True)
        self.content = content
        self.reads: list[int] = []
        self.broken = False
        self.closed = False
        self.gate = threading.Event()
        self.gate.set()
        self.identity = "sealed"

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        self.reads.append(offset_bytes // GRANULE_BYTES)
        assert self.gate.wait(30)
        if self.broken:
            raise OSError(5, "broken")
        target[:] = self.content[offset_bytes : offset_bytes + len(target)]

    def close(self) -> None:
        self.closed = True


def warm(golden: GoldenImage, offset: int = 0, length: int = 512) -> list[tuple[str, int, int]] | str:
    """The plan once nothing is being fetched."""
    deadline = time.monotonic() + 30
    while (plan := golden.plan_of(offset, length)) == "cold":
        assert time.monotonic() < deadline, "the fetch never came"
        time.sleep(0.001)
    return plan


def test_what_is_read_twice_is_fetched_once() -> None:
    source = Source()
    golden = GoldenCache(64 * GRANULE_BYTES).adopt(source)
    assert golden.plan_of(0, 512) == "cold"
    assert warm(golden) == [("memory", 512, 0)]
    for _ in range(10):
        assert golden.read(100 * 512, 4096) == CONTENT[51200:][:4096]
    assert source.reads == [0]


def test_a_plan_asks_for_all_granules_of_its_range_at_once() -> None:
    source = Source()
    golden = GoldenCache(64 * GRANULE_BYTES).adopt(source)
    golden.plan_of(0, 3 * GRANULE_BYTES)
    for granule in range(3):
        warm(golden, granule * GRANULE_BYTES)
    assert sorted(source.reads) == [0, 1, 2]
    assert golden.plan_of(512, 2 * GRANULE_BYTES) == [
        ("memory", GRANULE_BYTES - 512, 0),
        ("memory", GRANULE_BYTES, 0),
        ("memory", 512, 0),
    ]


def test_hundreds_that_ask_in_the_same_instant_cause_one_fetch() -> None:
    source = Source()
    source.gate.clear()
    golden = GoldenCache(64 * GRANULE_BYTES).adopt(source)
    threads = [
        threading.Thread(target=golden.plan_of, args=(granule * GRANULE_BYTES, 512))
        for granule in (0, 1, 2)
        for _ in range(85)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    source.gate.set()
    for granule in (0, 1, 2):
        warm(golden, granule * GRANULE_BYTES)
    assert sorted(source.reads) == [0, 1, 2]


def test_the_last_granule_may_be_short() -> None:
    golden = GoldenCache(64 * GRANULE_BYTES).adopt(Source())
    assert warm(golden, 20 * GRANULE_BYTES, 1024) == [("memory", 1024, 0)]
    assert golden.read(20 * GRANULE_BYTES, 1024) == CONTENT[-1024:]


def test_zeros_take_no_memory() -> None:
    cache = GoldenCache(64 * GRANULE_BYTES)
    golden = cache.adopt(Source(bytes(4 * GRANULE_BYTES) + b"\1" * 512))
    for granule in range(4):
        assert warm(golden, granule * GRANULE_BYTES) == [("zero", 512, 0)]
    warm(golden, 4 * GRANULE_BYTES)
    assert cache.resident_bytes == golden.resident_bytes == GRANULE_BYTES
    assert golden.read(GRANULE_BYTES, 4096) == bytes(4096)


@pytest.mark.parametrize("place", [0, 1, GRANULE_BYTES - 1])
def test_one_byte_that_is_not_zero_counts(place: int) -> None:
    content = bytearray(GRANULE_BYTES)
    content[place] = 1
    golden = GoldenCache(64 * GRANULE_BYTES).adopt(Source(bytes(content)))
    assert warm(golden) == [("memory", 512, 0)]
    assert golden.read(0, GRANULE_BYTES) == content


def test_the_budget_is_kept_by_eviction() -> None:
    cache = GoldenCache(8 * GRANULE_BYTES)
    golden = cache.adopt(Source())
    for granule in range(20):
        warm(golden, granule * GRANULE_BYTES)
        assert cache.resident_bytes <= cache.budget_bytes == 8 * GRANULE_BYTES
    assert cache.evictions == 12
    assert golden.resident_bytes == 8 * GRANULE_BYTES


def test_what_is_read_all_the_time_stays() -> None:
    source = Source()
    golden = GoldenCache(8 * GRANULE_BYTES).adopt(source)
    for granule in [*range(1, 20)] * 2:
        warm(golden)
        warm(golden, granule * GRANULE_BYTES)
    assert source.reads.count(0) < source.reads.count(1) + source.reads.count(2)


@pytest.mark.parametrize("budget", [1, 12])
def test_readers_side_by_side_during_eviction_get_the_right_bytes(budget: int) -> None:
    golden = GoldenCache(budget * GRANULE_BYTES).adopt(Source())
    wrong: list[int] = []

    def reader(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(150):
            offset = chance.randrange(len(CONTENT) // 512 - 8) * 512
            golden.plan_of(offset, 4096)
            if golden.read(offset, 4096) != CONTENT[offset : offset + 4096]:
                wrong.append(offset)

    threads = [threading.Thread(target=reader, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    golden.close()


def test_an_error_of_the_source_is_told_by_load_and_not_kept() -> None:
    source = Source()
    source.broken = True
    cache = GoldenCache(64 * GRANULE_BYTES)
    golden = cache.adopt(source)
    assert golden.plan_of(0, 512) == "cold"
    deadline = time.monotonic() + 30
    while len(source.reads) < 1 or cache.resident_bytes:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    with pytest.raises(ImageError):
        golden.read(0, 512)
    source.broken = False
    assert warm(golden) == [("memory", 512, 0)]


def test_several_images_share_one_budget() -> None:
    cache = GoldenCache(8 * GRANULE_BYTES)
    first, second = cache.adopt(Source()), cache.adopt(Source(CONTENT[::-1][: 8 * GRANULE_BYTES]))
    for granule in range(8):
        warm(first, granule * GRANULE_BYTES)
    for granule in range(4):
        warm(second, granule * GRANULE_BYTES)
    assert first.resident_bytes + second.resident_bytes == cache.resident_bytes == 8 * GRANULE_BYTES
    assert second.read(0, 4096) == CONTENT[::-1][:4096]
    assert {image["resident_bytes"] for image in cache.describe()["images"]} == {
        first.resident_bytes,
        second.resident_bytes,
    }


def test_closing_gives_the_memory_back_and_closes_the_source() -> None:
    cache = GoldenCache(8 * GRANULE_BYTES)
    source = Source()
    golden = cache.adopt(source)
    for granule in range(5):
        warm(golden, granule * GRANULE_BYTES)
    golden.close()
    assert (cache.resident_bytes, golden.resident_bytes, source.closed) == (0, 0, True)
    again = cache.adopt(Source())
    for granule in range(8):
        warm(again, granule * GRANULE_BYTES)
    assert cache.evictions == 0


def test_closing_waits_for_fetches() -> None:
    source = Source()
    source.gate.clear()
    golden = GoldenCache(8 * GRANULE_BYTES).adopt(source)
    golden.plan_of(0, 512)
    threading.Timer(0.05, source.gate.set).start()
    golden.close()
    assert source.gate.is_set()


def test_letting_an_image_go_during_a_fetch_waits_for_it() -> None:
    """The fetch of a Python source needs the interpreter's lock, which whoever lets go is holding."""
    source = Source()
    source.gate.clear()
    golden = GoldenCache(8 * GRANULE_BYTES).adopt(source)
    golden.plan_of(0, 512)
    threading.Timer(0.05, source.gate.set).start()
    del golden
    assert source.gate.is_set()


def cached_bytes(path: Path) -> int:
    """What the kernel holds of a file (mincore(2)), without touching it."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        pages = (ctypes.c_ubyte * (len(mapping) // mmap.PAGESIZE))()
        view = (ctypes.c_char * len(mapping)).from_buffer(mapping)
        try:
            assert ctypes.CDLL(None).mincore(view, ctypes.c_size_t(len(mapping)), pages) == 0
        finally:
            del view
        return sum(page & 1 for page in pages) * mmap.PAGESIZE


def test_the_page_cache_is_told_to_let_go() -> None:
    """The golden image doesn't stand in memory twice."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # on a disk, where a page cache can be dropped
        path = Path(folder) / "golden"
        size = 160 * GRANULE_BYTES
        with path.open("wb") as file:
            file.write(random.Random(3).randbytes(GRANULE_BYTES) * 160)
            file.flush()
            os.fsync(file.fileno())
        source = FileImage(os.open(path, os.O_RDONLY), size, read_only=True, path=str(path))
        cache = GoldenCache(200 * GRANULE_BYTES)
        golden = cache.adopt(source)
        for granule in range(160):
            warm(golden, granule * GRANULE_BYTES)
        assert cache.fetches == 160
        assert cached_bytes(path) <= 64 * GRANULE_BYTES
        golden.close()


def test_only_a_sealed_image_is_cached() -> None:
    with pytest.raises(ImageError, match="sealed"):
        GoldenCache(1).adopt(Image(512, path="open.vhd"))


def test_a_golden_image_can_not_be_changed() -> None:
    golden = GoldenCache(1).adopt(Source())
    with pytest.raises(ImageError):
        golden.write(0, memoryview(bytes(512)))
    with pytest.raises(ImageError):
        golden.discard(0, 512)
    golden.flush()


def test_the_view_tells_what_the_sealed_image_tells() -> None:
    golden = GoldenCache(1).adopt(Source())
    assert golden.identity == "sealed"
    with pytest.raises(AttributeError):
        _ = golden.nothing_of_the_sort


def test_image_in_a_circle_gives_its_memory_back_when_it_is_collected() -> None:
    cache = GoldenCache(8 * GRANULE_BYTES)
    image = GoldenImage.__new__(GoldenImage)  # older than its source, so that the collector takes it apart first
    source = Source()
    image.__init__(cache, source)  # type: ignore[misc]
    warm(image, 0)
    assert cache.resident_bytes == GRANULE_BYTES
    source.below = image  # type: ignore[attr-defined]
    del image, source
    gc.collect()
    assert cache.resident_bytes == 0
