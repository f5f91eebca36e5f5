"""The end of a process in which something hangs."""

import subprocess
import sys

HANGS = """
import sys, threading
from goldherd import process
{first}
process.leave_after(0.1, lambda: {tell})
print("said before")
threading.Event().wait(3600)
"""


def ended(tell: str, first: str = "") -> subprocess.CompletedProcess[str]:
    """A program that hangs after it has set its deadline, run to its end."""
    script = HANGS.format(tell=tell, first=first)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)


def test_deadline_ends_a_process_that_hangs() -> None:
    done = ended('print("the last words", file=sys.stderr)')
    assert (done.returncode, done.stdout, done.stderr) == (3, "said before\n", "the last words\n")


def test_deadline_does_not_wait_for_a_log_that_hangs() -> None:
    assert ended("threading.Event().wait(3600)").returncode == 3


def test_thread_that_hangs_is_seen() -> None:
    script = """
import threading
from goldherd import process
assert not process.is_held_up()
threading.Thread(target=threading.Event().wait, daemon=True).start()
assert not process.is_held_up(), "the interpreter does not wait for this one"
threading.Thread(target=threading.Event().wait).start()
assert process.is_held_up()
print("seen")
process.leave(7)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (7, "seen\n"), done.stderr
