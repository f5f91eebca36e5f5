"""Daemons that hand over to new processes, and are ended with the last of them."""

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from goldherd.client import Daemon as Door
from goldherd.environment import control_socket
from goldherd.errors import GoldherdError

from tests.target.daemon import Daemon, Herd


@contextmanager
def serving(herd: Herd, *options: object) -> Iterator[Daemon]:
    """The daemon of a herd, until the block ends; the processes that took over from it end too."""
    with herd.serve(*options) as daemon:
        group = daemon.process.pid
        try:
            yield daemon
        finally:
            end(herd, group)


def end(herd: Herd, group: int) -> None:
    """Ends the process that serves now, one of a process group."""
    pid = serving_pid(herd)
    if pid == group:
        return
    if pid is None:
        with contextlib.suppress(ProcessLookupError):  # the test has killed all of them
            os.killpg(group, signal.SIGKILL)
        return
    os.kill(pid, signal.SIGTERM)
    ended = has_ended(pid)
    if not ended:
        os.killpg(group, signal.SIGKILL)
    assert ended, "the process that took over does not end"


def has_ended(pid: int) -> bool:
    """Whether a process ends within 20 s."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 20)[0])
    finally:
        os.close(descriptor)


def status(herd: Herd) -> dict[str, Any]:
    """What the daemon says of itself; asked without a process of its own."""
    found = Door(control_socket(herd.data)).status()
    assert found is not None
    return found


def serving_pid(herd: Herd) -> int | None:
    """The process that serves; None when none answers."""
    found = Door(control_socket(herd.data)).status()
    return None if found is None else int(found["pid"])


def hand_over(herd: Herd) -> dict[str, Any]:
    """What `goldherd upgrade` asks, which must succeed."""
    found = Door(control_socket(herd.data)).upgrade()
    assert found is not None
    return found


def refusal(herd: Herd) -> str:
    """The reason of a hand-over that must fail."""
    with pytest.raises(GoldherdError) as refused:
        Door(control_socket(herd.data)).upgrade()
    return str(refused.value)
