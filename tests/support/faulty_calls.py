"""System calls that fail on command in another process, by a library that it preloads (faulty_calls.c)."""

import ctypes
import mmap
import os
import subprocess
from pathlib import Path
from typing import Final

CALLS: Final = (
    "none",
    "fdatasync",
    "fsync",
    "sync_file_range",
    "pwrite",
    "ftruncate",
    "fallocate",
    "close",
    "setxattr",
    "preadv",
)
"""The calls that can fail, in the order of the library's list."""


class _Fault(ctypes.Structure):
    _fields_ = (
        ("call", ctypes.c_int32),
        ("number", ctypes.c_int32),
        ("good", ctypes.c_int32),
        ("times", ctypes.c_int32),
        ("sleep_ms", ctypes.c_int32),
        ("hits", ctypes.c_int32),
        ("path", ctypes.c_char * 256),
        ("seen", ctypes.c_int32 * len(CALLS)),
    )


def build(folder: Path) -> Path:
    """The library, compiled into a folder."""
    library = folder / "faulty_calls.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", library, source, "-ldl"], check=True)
    return library


class FaultyCalls:
    """The faults of the processes that get `environment`.

    Args:
        library: what build() made.
        folder: where the file lies through which the library is told.
    """

    def __init__(self, library: Path, folder: Path) -> None:
        control = folder / "faulty_calls"
        control.write_bytes(bytes(ctypes.sizeof(_Fault)))
        descriptor = os.open(control, os.O_RDWR)
        self._memory = mmap.mmap(descriptor, ctypes.sizeof(_Fault))
        os.close(descriptor)
        self._fault = _Fault.from_buffer(self._memory)
        self.environment = {"LD_PRELOAD": str(library), "FAULTY_CALLS": str(control)}

    def arm(
        self, call: str, number: int, path: Path | str, *, good: int = 0, times: int = 1, sleep_seconds: float = 0
    ) -> None:
        """From now on that call fails with that errno on files whose path contains `path`.

        Args:
            good: so many calls succeed before.
            times: so many fail, then all succeed again.
            sleep_seconds: a call that fails takes so long.
        """
        self.disarm()
        self._fault.number, self._fault.good, self._fault.times = number, good, times
        self._fault.sleep_ms, self._fault.hits = int(sleep_seconds * 1000), 0
        self._fault.path = os.fsencode(path)
        for index in range(len(CALLS)):
            self._fault.seen[index] = 0
        self._fault.call = CALLS.index(call)

    def disarm(self) -> None:
        """Nothing fails any more; calls are still counted."""
        self._fault.call = 0

    @property
    def hits(self) -> int:
        """How many calls have failed since arm()."""
        return int(self._fault.hits)

    def seen(self, call: str) -> int:
        """How many of those calls came for such files since arm(), failed or not."""
        return int(self._fault.seen[CALLS.index(call)])
