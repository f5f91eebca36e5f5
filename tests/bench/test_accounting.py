"""The books of the kernel, read right."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from bench.accounting import cpu_seconds, read_from_disk_bytes, status_bytes


def work() -> None:
    """Some CPU time of the calling thread."""
    sum(range(2_000_000))


def booked_by_threads() -> float:
    """schedstat's run time over the living threads of this process, in seconds."""
    return sum(int(path.read_text().split()[0]) for path in Path("/proc/self/task").glob("*/schedstat")) / 1e9


def test_cpu_time_lies_between_two_sums_of_schedstat_when_no_thread_ended() -> None:
    running = subprocess.Popen([sys.executable, "-c", "sum(range(5_000_000)); input()"], stdin=subprocess.PIPE)
    try:
        task = Path(f"/proc/{running.pid}/task/{running.pid}/schedstat")
        before = int(task.read_text().split()[0]) / 1e9
        between = cpu_seconds(running.pid)
        after = int(task.read_text().split()[0]) / 1e9
        assert before <= between <= after
    finally:
        running.communicate(b"\n")


def test_cpu_time_keeps_threads_that_ended() -> None:
    before, threads_before = cpu_seconds(os.getpid()), booked_by_threads()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    while Path(f"/proc/self/task/{thread.native_id}").exists():
        os.sched_yield()  # join() returns a moment before the kernel has closed the thread's books
    spent = cpu_seconds(os.getpid()) - before
    assert spent > booked_by_threads() - threads_before


def test_status_is_in_bytes() -> None:
    page = os.sysconf("SC_PAGESIZE")
    assert status_bytes(os.getpid(), "VmRSS") % page == 0
    assert status_bytes(os.getpid(), "VmRSS") <= status_bytes(os.getpid(), "VmHWM")


def test_reads_from_the_page_cache_are_not_reads_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "warm"
    path.write_bytes(bytes(1 << 20))
    before = read_from_disk_bytes(os.getpid())
    path.read_bytes()
    assert read_from_disk_bytes(os.getpid()) == before
