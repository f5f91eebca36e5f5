"""The process of a daemon: how it ends when a part of it hangs.

A thread that waits for a disk can't be ended, and the interpreter waits for its threads. So the end of a daemon has a
deadline of its own, kept by a thread that waits for nothing but the clock.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Final

from goldherd.limits import LAST_WORDS_SECONDS

LEFT_BEHIND: Final = 3
"""The exit code of a daemon that ended without a part of it that hangs."""


def leave(code: int) -> None:
    """Ends the process at once, whatever its threads do; what was printed is flushed before."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def leave_after(seconds: float, tell: Callable[[], None]) -> None:
    """Ends the process with LEFT_BEHIND after so long, unless it has ended by itself; `tell` logs that."""

    def watch() -> None:
        threading.Event().wait(seconds)
        teller = threading.Thread(target=tell, name="last words", daemon=True)
        teller.start()
        teller.join(LAST_WORDS_SECONDS)  # the log's disk may be the one that hangs
        leave(LEFT_BEHIND)

    threading.Thread(target=watch, name="deadline", daemon=True).start()


def has_terminal() -> bool:
    """Whether this process belongs to a terminal, which may be closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def survive_hangups() -> None:
    """SIGHUP does not end a daemon without a terminal while it starts; before, nothing can be read again."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL and not has_terminal():
        signal.signal(signal.SIGHUP, lambda _number, _frame: None)


def is_held_up() -> bool:
    """Whether a thread is left for which the interpreter would wait."""
    others = (thread for thread in threading.enumerate() if thread is not threading.current_thread())
    return any(thread.is_alive() and not thread.daemon for thread in others)
