"""An ext4 of its own for the disks of nodes: a real file system that can be full, and that can hang."""

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BLOCK_BYTES = 4096


class Volume:
    """A mounted ext4.

    Args:
        store: the file that holds it; made.
        folder: where it is mounted; made.
        size_bytes: of the file system.
    """

    def __init__(self, store: Path, folder: Path, size_bytes: int) -> None:
        self.folder = folder
        with store.open("wb") as file:
            file.truncate(size_bytes)
        folder.mkdir(parents=True)
        self._run("mke2fs", "-q", "-t", "ext4", "-m", "0", store)
        self._run("mount", "-o", "loop", store, folder)

    def unmount(self) -> None:
        """At the end."""
        self._run("umount", self.folder)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Every write and flush waits, as on a disk that does not answer, until the block ends."""
        self._run("fsfreeze", "--freeze", self.folder)
        try:
            yield
        finally:
            self._run("fsfreeze", "--unfreeze", self.folder)

    @contextmanager
    def full(self) -> Iterator[None]:
        """No block of it is free until the `with` block ends."""
        ballast, step = self.folder / "ballast", 1 << 20
        try:
            with ballast.open("wb") as file:
                while step >= BLOCK_BYTES:
                    try:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
                    except OSError as failure:
                        if failure.errno != errno.ENOSPC:
                            raise
                        step //= 2
            yield
        finally:
            ballast.unlink()

    @staticmethod
    def _run(*command: str | Path) -> None:
        for _ in range(100):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            time.sleep(0.1)  # a file system that a process has just left is still busy for a moment
        raise RuntimeError(f"{' '.join(map(str, command))} failed: {done.stderr}")
