"""What a process has used, from the kernel's own books."""

import time
from pathlib import Path

CPUCLOCK_SCHED = 2


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process, those that ended included, in seconds to the nanosecond.

    This is the sum of schedstat over /proc/PID/task/* (clock_getcpuclockid(3) reads the same number), but it
    doesn't lose a thread that ends between two looks. The tick-based utime of /proc/PID/stat is off by
    factors for a process that wakes often.
    """
    return time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED) / 1e9


def status_bytes(pid: int, field: str) -> int:
    """One "kB" line of /proc/PID/status in bytes, e.g. RssAnon."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise KeyError(field)


def read_from_disk_bytes(pid: int) -> int:
    """What the process had read from storage: read_bytes of /proc/PID/io, without the page cache."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["read_bytes"])
