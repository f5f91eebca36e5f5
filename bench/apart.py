"""Runs a measurement in a session of its own.

With sched_autogroup, processes of one session share one weight over all cores: a generator that shares a
session with one target halves that target's CPU and not the other's.
"""

import os
import signal
import sys
from collections.abc import Callable


def apart(main: Callable[[list[str]], int], words: list[str]) -> int:
    """main(words) in a forked child after setsid(2); its exit status. Ctrl-C reaches it."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os._exit(run_and_flush(main, words))
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except KeyboardInterrupt:
        os.kill(child, signal.SIGINT)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_and_flush(main: Callable[[list[str]], int], words: list[str]) -> int:
    """main(), with what a process normally does at its end."""
    try:
        return main(words)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    except Exception:
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
