"""What was acknowledged can be flushed on a volume without a free byte: a flush needs no space (docs/full-disks.md)."""

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from goldherd.errors import StorageFullError

from tests.plugins.conftest import Disk

DISK_BYTES = 256 << 20
MAKE = {
    "tmpfs": "mount -t tmpfs -o size=24m tmpfs {folder}",
    "ext4": "truncate -s 24M {folder}.img && mkfs.ext4 -q -F -m 0 -O ^has_journal {folder}.img && "
    "mount -o loop {folder}.img {folder}",
    "ext4 of small blocks": "truncate -s 24M {folder}.img && mkfs.ext4 -q -F -m 0 -b 1024 -O ^has_journal {folder}.img "
    "&& mount -o loop {folder}.img {folder}",
}


@pytest.fixture(params=MAKE)
def volume(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(MAKE[request.param].format(folder=folder), shell=True, check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(ballast: Path) -> None:
    """Takes all the space that is left."""
    with ballast.open("ab", buffering=0) as file:
        for piece in (1 << 20, 4096, 512):
            try:
                while file.write(bytes(piece)):
                    pass
            except OSError:
                continue


@pytest.mark.parametrize("kind", ["sparse", "dynamic", "differencing"])
def test_every_acknowledged_write_can_be_flushed(volume: Path, kind: str) -> None:
    chance = random.Random(kind)
    disk = Disk(volume, kind, DISK_BYTES)
    image = disk.open()
    written: dict[int, int] = {}
    refused = 0
    while refused < 40:
        if chance.random() < 0.1 or shutil.disk_usage(volume).free > 4 << 20:
            fill(volume / "ballast")
            with (volume / "ballast").open("ab") as file:  # room for a few writes
                file.truncate(max(file.tell() - chance.randrange(1, 64) * 1024, 0))
        first, count, mark = chance.randrange(DISK_BYTES // 512 - 128), chance.choice([1, 2, 8, 63, 128]), refused + 1
        try:
            image.write(first * 512, memoryview(bytes([mark]) * count * 512))
            written.update(dict.fromkeys(range(first, first + count), mark))
        except StorageFullError:
            refused += 1
            for sector in range(first, first + count):  # either content may be there
                written.pop(sector, None)
            fill(volume / "ballast")
        if chance.random() < 0.5:
            image.synchronize()
    image.synchronize()
    assert image.sync_failure is None
    image.close()
    again = disk.open("r")
    for sector, mark in written.items():
        assert again.read(sector * 512, 512) == bytes([mark]) * 512
    again.close()
    disk.opener.close()
