"""`goldherd` whose successors fail in a hand-over as a file says: python -m tests.target.successor WORDS...

The file that TEST_SUCCESSOR names holds one line: what fails, and how often it may happen before. The process that
runs first is not concerned.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

VARIABLE = "TEST_SUCCESSOR"


def _die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _before(owner: Any, name: str, count: int, act: Callable[[], None]) -> None:
    """`act` comes before the call with that number, counted from 0."""
    original = getattr(owner, name)
    calls = iter(range(1 << 30))

    def call(*arguments: Any, **named: Any) -> Any:
        if next(calls) == count:
            act()
        return original(*arguments, **named)

    setattr(owner, name, call)


def _refuse() -> None:
    from goldherd.errors import ImageError

    raise ImageError("The test's disk can't be opened.")


def spoil(what: str, count: int) -> None:
    """Lets this process fail."""
    from goldherd.target.handover import channel, taking
    from goldherd.target.open_targets import OpenTargets

    if what == "send":
        _before(channel.Channel, "send", count, _die)
    elif what == "receive":
        _before(channel.Channel, "receive", count, _die)
    elif what == "open":
        _before(OpenTargets, "open", count, _die)
    elif what == "refuse":
        _before(OpenTargets, "open", count, _refuse)
    elif what == "sleep":
        _before(OpenTargets, "open", count, lambda: time.sleep(3600))
    elif what == "session":
        _before(taking, "adopt_session", count, _die)
    elif what == "format":
        taking.READS = (2, 3)  # type: ignore[misc, assignment]
    elif what == "exit":
        sys.exit(7)


def main() -> None:
    """Runs goldherd."""
    fault = Path(os.environ[VARIABLE]).read_text().split() if VARIABLE in os.environ else []
    if fault and "--take-over" in sys.argv:
        spoil(fault[0], int(fault[1]))
    from goldherd.cli.main import main as goldherd

    goldherd()


if __name__ == "__main__":
    main()
