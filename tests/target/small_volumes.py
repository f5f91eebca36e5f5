"""Small file systems on which a node's disk lies alone, and what takes their space."""

import errno
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.target.daemon import Herd

MIB = 1 << 20
MAKE = {
    "tmpfs": "mount -t tmpfs -o size=64m tmpfs {folder}",
    "ext4": "truncate -s 64M {folder}.img && mkfs.ext4 -q -F -m 0 {folder}.img && mount -o loop {folder}.img {folder}",
}


@dataclass
class Volume:
    """A small file system on which the disk of pc-001 lies, with a file that takes its space."""

    folder: Path

    @property
    def ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Leaves no space."""
        with self.ballast.open("wb", buffering=0) as file:
            for piece in (MIB, 4096):
                try:
                    while file.write(bytes(piece)):
                        pass
                except OSError as error:
                    assert error.errno == errno.ENOSPC


@contextmanager
def small_volume(herd: Herd, kind: str) -> Iterator[Volume]:
    """The disk of pc-001 lies on a file system of that kind until the block ends."""
    folder, overlay = herd.data.parent / "small", herd.overlay("pc-001")
    folder.mkdir()
    subprocess.run(MAKE[kind].format(folder=folder), shell=True, check=True)
    shutil.copy2(overlay, folder)
    subprocess.run(["mount", "--bind", folder / overlay.name, overlay], check=True)
    yield Volume(folder)
    subprocess.run(["umount", "--lazy", overlay], check=True)
    subprocess.run(["umount", "--lazy", folder], check=True)
