"""Real file systems for a test, each on a loop device over a file, and the power to freeze one.

A test that needs them fails where they can't be had: it runs as root, on a kernel with loop devices.
"""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
FIFREEZE: Final = 0xC0045877
"""_IOWR('X', 119, int): the file system takes no writes until FITHAW; what would write waits in the kernel."""
FITHAW: Final = 0xC0045878
"""_IOWR('X', 120, int)"""
MAKERS: Final = {
    "ext4": ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
}
"""xfs takes no device below 300 MiB."""


def _run(*words: str | Path) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(
            f"{' '.join(map(str, words))} failed: {done.stderr.strip()}. This test makes and mounts a file system of "
            "its own: it needs root, e2fsprogs, xfsprogs and loop devices (a container needs --privileged)."
        )


@contextmanager
def mounted(folder: Path, kind: str, size_bytes: int = 320 * MIB, *options: str) -> Iterator[Path]:
    """A new file system of a kind, mounted until the block ends; `options` go to its maker."""
    store, place = folder / f"{kind}.store", folder / kind
    with store.open("wb") as file:
        file.truncate(size_bytes)
    place.mkdir()
    _run(*MAKERS[kind], *options, store)
    _run("mount", "-o", "loop", store, place)
    try:
        yield place
    finally:
        _run("umount", place)
        store.unlink()


@contextmanager
def frozen(place: Path) -> Iterator[None]:
    """Freezes the file system that is mounted at a place until the block ends (fsfreeze(8))."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, FIFREEZE, 0)
        try:
            yield
        finally:
            fcntl.ioctl(descriptor, FITHAW, 0)
    finally:
        os.close(descriptor)
