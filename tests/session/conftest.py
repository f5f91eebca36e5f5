"""Disks for an InMemoryReactor: one that answers at once, one that always needs another thread."""

import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from goldherd.block.file import FileImage
from goldherd.block.image import Image
from goldherd.block.memory import MemoryImage

from tests.session.initiator import Initiator

DISK_BYTES = 4 << 20
PATTERN = random.Random(7143).randbytes(DISK_BYTES)


def warm(image: FileImage) -> FileImage:
    """The image with every granule in memory, so that a plan never says cold."""
    deadline = time.monotonic() + 60
    while image.plan_of(0, image.size_bytes) != [("memory", image.size_bytes, 0)]:
        assert time.monotonic() < deadline, "the fetches never came"
        time.sleep(0.001)
    return image


@pytest.fixture
def file_of() -> Iterator[Callable[..., FileImage]]:
    """Makes disks in files that lie in memory; they hold the pattern unless told otherwise."""
    images: list[FileImage] = []

    def make(content: bytes = PATTERN, *, read_only: bool = False, name: str = "disk") -> FileImage:
        memory = os.memfd_create(f"{name}-{len(images)}", os.MFD_CLOEXEC)
        os.write(memory, content)
        fd = os.open(f"/proc/self/fd/{memory}", os.O_RDONLY if read_only else os.O_RDWR)
        os.close(memory)
        images.append(FileImage(fd, len(content), read_only=read_only, path=f"/proc/self/fd/{fd}"))
        return images[-1]

    yield make
    for image in images:
        image.close()


@pytest.fixture
def disk(file_of: Callable[..., FileImage]) -> FileImage:
    """4 MiB with the pattern, in memory: reads and small writes are answered at once."""
    return warm(file_of())


@pytest.fixture
def slow_disk() -> MemoryImage:
    """4 MiB with the pattern behind the Python door: everything needs another thread."""
    image = MemoryImage(DISK_BYTES)
    image.write(0, memoryview(PATTERN))
    return image


@pytest.fixture
def login(disk: FileImage) -> Iterator[Callable[..., Initiator]]:
    """Logs in to the disk, or to the images given."""
    made = []

    def make(*images: Image, **more: Any) -> Initiator:
        made.append(Initiator(images or (disk,), **more))
        return made[-1]

    yield make
    for initiator in made:
        initiator.settle()
        initiator.reactor.close_session(initiator.session_id)
        initiator.reactor.step()
        assert initiator.reactor.live_tasks == 0
        assert initiator.reactor.buffer_bytes == 0
