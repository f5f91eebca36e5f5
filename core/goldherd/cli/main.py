"""The entry point of the command `goldherd`: runs the command line and turns every failure into one sentence.

This module imports nothing but what every Python process has already, so that Ctrl-C is answered quietly from the first
moment on; the commands are put together in command_line.py.
"""

import os
import signal
import sys
from typing import NoReturn

from goldherd.cli.exit_codes import INTERRUPTED, READER_GONE


def main() -> NoReturn:
    """Runs the command line of this process and ends the process."""
    # Until a command runs nothing is half-made: Ctrl-C may end the process where it stands, even inside an import.
    signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(INTERRUPTED))
    from goldherd.cli.command_line import run

    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the process was started with it closed, as by `goldherd status >&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123 - until the process ends
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
    # The interpreter closes down: there is nothing left to interrupt, and its own complaints help no user.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(_flushed(code))


def _flushed(code: int) -> int:
    """The exit code once everything printed has left the process; afterwards nothing can fail any more."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # The interpreter would flush once more at its end, and complain: it flushes into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE if isinstance(error, BrokenPipeError) else code or 1
    return code


if __name__ == "__main__":
    main()
