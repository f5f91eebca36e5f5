"""The read path without sockets: a command comes in as bytes, its Data-In goes out as bytes.

Every answer is copied once more than on a socket (into the stream of the InMemoryReactor), which 256 KiB reads show.
"""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from goldherd.block.file import FileImage
from goldherd.model.parameters import Parameters
from goldherd.reactor.events_out import EventQueue
from goldherd.reactor.inmemory import InMemoryReactor
from goldherd.scsi.fastpath.unit import HotNexus, HotUnit

from bench.steady import Steady, group

pytestmark = group("read path: from command blocks to Data-In")

DISK_BYTES = 64 << 20


@pytest.fixture
def reactor(tmp_path: Path) -> Iterator[InMemoryReactor]:
    """One session on a raw disk that is in memory."""
    path = tmp_path / "disk"
    path.write_bytes(random.Random(6).randbytes(1 << 20) * 64)
    image = FileImage(os.open(path, os.O_RDONLY), DISK_BYTES, read_only=True, path=str(path))
    while image.plan_of(0, DISK_BYTES) != [("memory", DISK_BYTES, 0)]:
        time.sleep(0.001)
    made = InMemoryReactor(0, EventQueue())
    made.connect(1, Parameters(max_send_data_segment=262144), {0: HotNexus(HotUnit(image), 0)})
    yield made
    made.hang_up(1)
    image.close()


def commands(kib: int, count: int, depth: int) -> list[bytes]:
    """`count` immediate READ(16) at fixed random places, `depth` in a segment."""
    chance = random.Random(7)
    pdus = []
    for itt in range(count):
        lba = chance.randrange((DISK_BYTES - kib * 1024) // 4096) * 8
        header = bytearray(48)
        header[0], header[1] = 0x41, 0xC0
        header[16:20], header[20:24] = (itt + 1).to_bytes(4, "big"), (kib * 1024).to_bytes(4, "big")
        header[32:48] = bytes([0x88, 0]) + lba.to_bytes(8, "big") + (kib * 2).to_bytes(4, "big") + bytes(2)
        pdus.append(bytes(header))
    return [b"".join(pdus[at : at + depth]) for at in range(0, count, depth)]


SHAPES = [(4, 1024, 1), (4, 1024, 8), (4, 1024, 32), (64, 128, 8), (256, 32, 4)]


@pytest.mark.parametrize(("kib", "count", "depth"), SHAPES)
def test_reads(steady: Steady, reactor: InMemoryReactor, kib: int, count: int, depth: int) -> None:
    """Reads of one size, `depth` at a time."""
    segments = commands(kib, count, depth)

    def run() -> int:
        return sum(len(reactor.receive(1, segment)) for segment in segments)

    assert steady(run, commands=count, kib=kib, depth=depth) == count * (48 + kib * 1024)
