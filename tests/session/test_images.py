"""Reads and writes over disks that are memory, file, zeros, cold, blocking, or broken."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from goldherd.block.file import FileImage
from goldherd.block.golden import GoldenCache
from goldherd.block.image import Image
from goldherd.block.memory import MemoryImage
from goldherd.errors import ImageError, StorageFullError
from goldherd.limits import GRANULE_BYTES
from goldherd.reactor.events_out import CommandEvent, FailedEvent

from tests.plugins.conftest import Opener, create_disk, open_disk
from tests.session.conftest import PATTERN
from tests.session.initiator import Initiator, data_of, only

Login = Callable[..., Initiator]


class BrokenImage(MemoryImage):
    """Fails with what it is told to."""

    failure: BaseException | None = None

    def _perhaps(self) -> None:
        if self.failure is not None:
            raise self.failure

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        self._perhaps()
        super().read_into(offset_bytes, target)

    def write(self, offset_bytes: int, data: memoryview) -> None:
        self._perhaps()
        super().write(offset_bytes, data)

    def flush(self) -> None:
        self._perhaps()


def golden_over(content: bytes, budget: int = 64 * GRANULE_BYTES) -> Image:
    """A sealed disk with this content, in a cache that is still empty."""
    memory = MemoryImage(len(content))
    memory.write(0, memoryview(content))
    return GoldenCache(budget).adopt(SealedMemory(memory))


class SealedMemory(Image):
    """Another image, read-only."""

    def __init__(self, image: Image) -> None:
        super().__init__(image.size_bytes, read_only=True)
        self.image, self.reads = image, 0

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        self.reads += 1
        self.image.read_into(offset_bytes, target)


MIXED = PATTERN[: 3 * GRANULE_BYTES] + bytes(2 * GRANULE_BYTES) + PATTERN[: GRANULE_BYTES + 512]


@pytest.mark.parametrize("budget", [64, 8, 1])
@pytest.mark.parametrize("digests", [False, True])
def test_cold_and_zero_granules_become_one_answer(login: Login, budget: int, digests: bool) -> None:
    initiator = login(golden_over(MIXED, budget * GRANULE_BYTES), data_digest=digests)
    blocks = len(MIXED) // 512
    for lba, count in [(1, blocks - 1), (0, blocks), (511, 3), (blocks - 1, 1), (1500, 1200)]:
        assert data_of(initiator.status(initiator.read(lba, count))) == MIXED[lba * 512 :][: count * 512]


def test_many_cold_reads_at_once_are_all_answered_with_their_own_data(login: Login) -> None:
    initiator = login(golden_over(MIXED))
    tags = {}
    stream = b""
    for lba in range(0, 2000, 20):
        tags[1000 + lba] = lba
        stream += initiator.read(lba, 7, itt=1000 + lba)
    pdus = initiator.until(lambda pdus: sum(pdu.flags & 1 for pdu in pdus) == len(tags), stream)
    for itt, lba in tags.items():
        assert data_of([pdu for pdu in pdus if pdu.itt == itt]) == MIXED[lba * 512 :][: 7 * 512]
    assert initiator.reactor.counters()["cold_waits"]


class GoldenOpener(Opener):
    """Gives a child its parent through a golden cache."""

    def open_parent(self, path: Path, format_name: str) -> Image:
        return CACHE.adopt(super().open_parent(path, format_name))


CACHE = GoldenCache(8 * GRANULE_BYTES)


@pytest.mark.parametrize("digests", [False, True])
def test_a_differencing_child_over_a_cold_golden_parent(login: Login, tmp_path: Path, digests: bool) -> None:
    """The runs of one read: the child's file, golden memory, zeros, sector by sector."""
    size = 16 << 20
    parent, child = f"{tmp_path}/parent.vhd", f"{tmp_path}/child.vhd"
    create_disk(f"vhd:{parent}", size)
    below = open_disk(f"vhd:{parent}", "rw")
    model = bytearray(size)
    for offset in (0, 3 << 20, 9 << 20):
        below.write(offset, memoryview(PATTERN[: 1 << 20]))
        model[offset : offset + (1 << 20)] = PATTERN[: 1 << 20]
    below.close()
    create_disk(f"vhd:{child}", size, Path(parent))
    opener = GoldenOpener()
    image = open_disk(f"vhd:{child}", "rw", opener)
    initiator = login(image, data_digest=digests)
    for lba in (3, 5, 7, 6144, 6150, 12000, 20000):
        data = os.urandom(512)
        assert only(initiator.until(bool, initiator.write(lba, data))).status == 0
        model[lba * 512 : lba * 512 + 512] = data
    for lba, count in [(0, 16), (6140, 20), (8000, 6000), (0, size // 512)]:
        assert data_of(initiator.status(initiator.read(lba, count))) == model[lba * 512 : (lba + count) * 512]
    initiator.settle()
    image.close()
    opener.close()


def test_a_backend_in_python_answers_through_its_own_threads(login: Login, slow_disk: MemoryImage) -> None:
    initiator = login(slow_disk)
    assert data_of(initiator.status(initiator.read(0, 4000))) == PATTERN[: 4000 * 512]
    assert initiator.reactor.counters()["jobs"] == 8


FAILURES: list[tuple[BaseException, int]] = [
    (OSError(errno.EIO, "io"), errno.EIO),
    (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
    (StorageFullError("full"), errno.ENOSPC),
    (ImageError("broken"), errno.EIO),
    (ZeroDivisionError(), errno.EIO),
]


@pytest.mark.parametrize(("failure", "number"), FAILURES, ids=[repr(failure) for failure, _ in FAILURES])
@pytest.mark.parametrize("work", ["read", "write", "flush"])
def test_a_backend_that_fails_is_told_with_its_errno(
    login: Login, failure: BaseException, number: int, work: str
) -> None:
    image = BrokenImage(1 << 20)
    initiator = login(image)
    makers: dict[str, Callable[[], bytes]] = {
        "read": lambda: initiator.read(0, 8),
        "write": lambda: initiator.write(0, bytes(4096)),
        "flush": lambda: initiator.command(bytes([0x35]), expected=0),
    }
    segment = makers[work]
    image.failure = failure
    assert not initiator.send(segment())
    initiator.settle()
    event = initiator.event(FailedEvent)
    if work == "flush":
        number = errno.EIO  # whatever it was, written data may be lost
    assert (event.errno, event.purpose) == (number, {"read": 1, "write": 2, "flush": 3}[work])
    assert only(initiator.reply(event, 2, b"sense", written=0 if work == "write" else None)).status == 2
    image.failure = None
    if work == "flush":
        assert not initiator.send(segment())
        initiator.settle()
        event = initiator.event(FailedEvent)
        assert event.errno == errno.EIO, "a flush that failed once fails for ever"
    else:
        assert only(initiator.until(bool, segment())).status == 0


def test_a_read_that_fails_halfway_tells_what_was_sent(login: Login, file_of: Callable[..., FileImage]) -> None:
    image = file_of(PATTERN[:262144] + bytes(262144))
    initiator = login(image, max_send_data_segment=65536)
    os.truncate(image.path, 262144)
    pdus = initiator.send(initiator.read(0, 1024))
    initiator.settle()
    pdus += initiator.send()
    event = initiator.event(FailedEvent)
    assert event.errno == errno.EIO
    pdus += initiator.reply(event, 2, b"sense")
    assert data_of(pdus) == PATTERN[:262144]
    assert (pdus[-1].residual_of, pdus[-1].data_sn) == (("U", 262144), 4)


def test_a_write_to_a_disk_that_is_read_only_fails(login: Login, file_of: Callable[..., FileImage]) -> None:
    initiator = login(file_of(read_only=True))
    for length in (512, 262144):
        assert not initiator.send(initiator.write(0, bytes(length)))
        initiator.settle()
        event = initiator.event(FailedEvent)
        assert event.errno == errno.EROFS
        initiator.reply(event, 2, b"sense", written=0)


def test_blocks_of_4096_bytes(login: Login, disk: FileImage) -> None:
    initiator = login(disk, block_size=4096)
    assert data_of(initiator.send(initiator.read(3, 2, 8192))) == PATTERN[12288:][:8192]
    cdb = bytes([0x8A]) + bytes(9) + (2).to_bytes(4, "big") + bytes(2)
    answer = only(initiator.send(initiator.command(cdb, expected=4096, data=bytes(4096), flags=0x20)))
    assert answer.residual_of == ("O", 4096)
    assert disk.read(0, 8192) == bytes(4096) + PATTERN[4096:8192]


def test_data_that_ends_inside_a_block_takes_the_slow_path(login: Login, disk: FileImage) -> None:
    initiator = login(disk, block_size=4096)
    cdb = bytes([0x8A]) + bytes(9) + (2).to_bytes(4, "big") + bytes(2)
    assert not initiator.send(initiator.command(cdb, expected=4608, data=bytes(4608), flags=0x20))
    event = initiator.event(CommandEvent)
    assert (event.expected, len(event.data_out)) == (4608, 4608)
    assert only(initiator.reply(event, 2, b"sense", written=8192)).residual_of == ("O", 3584)
    assert disk.read(0, 8192) == PATTERN[:8192]
