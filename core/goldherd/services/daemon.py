"""What operations ask of the daemon itself: to hand over, to let no machine boot any more, to stop."""

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from goldherd.errors import About, ErrorKind, GoldherdError
from goldherd.limits import STOP_POLL_SECONDS
from goldherd.model.names import listed, natural_key
from goldherd.services import answers, requests
from goldherd.services.context import Services


def upgrade(services: Services, request: requests.UpgradeDaemon) -> answers.Upgraded:  # noqa: ARG001 - every line has a request
    """upgrade."""
    found = services.live.upgrade()
    if found is None:
        raise GoldherdError(
            f"No daemon is running for {services.data}: there is nothing to hand over.", kind=ErrorKind.NOT_FOUND
        )
    return answers.Upgraded(
        int(found["pid"]), str(found["version"]), int(found["sessions"]), float(found["pause_seconds"])
    )


def drain(services: Services, request: requests.Drain) -> answers.Drained:
    """drain."""
    daemon = services.live.drain(not request.off)
    if daemon is None:
        raise _none_runs(services)
    nodes = _nodes(daemon)
    draining = bool(daemon.get("draining"))
    return answers.Drained(draining, nodes, draining and not nodes)


def stop(services: Services, request: requests.StopDaemon) -> answers.Stopped:
    """stop."""
    daemon = services.live.status()
    if daemon is None:
        raise _none_runs(services)
    nodes = _nodes(daemon)
    if nodes and not request.force:
        raise GoldherdError(
            f"{_run_text(nodes)} from here: {listed(nodes)}. Their disks would be away until a daemon serves them "
            "again.",
            kind=ErrorKind.IN_USE,
            about=(About("daemon", str(services.data)), *(About("node", node) for node in nodes)),
        )
    pid = int(daemon["pid"])
    with _ending(services, pid):
        services.live.ask_to_stop()
    return answers.Stopped(pid, nodes)


@contextmanager
def _ending(services: Services, pid: int) -> Iterator[None]:
    """Waits at the end of the block until the process has ended; of one in another namespace, until it is silent."""
    try:
        process = os.pidfd_open(pid)
    except OSError:
        yield
        while services.live.status() is not None:
            time.sleep(STOP_POLL_SECONDS)
        return
    try:
        yield
        select.select([process], [], [])
    finally:
        os.close(process)


def _nodes(daemon: dict[str, Any]) -> tuple[str, ...]:
    """The nodes that run from a daemon, by what it says of itself."""
    sessions = (session for session in daemon.get("sessions", []) if session.get("state") != "discovery")
    return tuple(sorted({str(session.get("node") or session.get("target")) for session in sessions}, key=natural_key))


def _run_text(nodes: tuple[str, ...]) -> str:
    return "1 node runs" if len(nodes) == 1 else f"{len(nodes)} nodes run"


def _none_runs(services: Services) -> GoldherdError:
    return GoldherdError(
        f"No daemon runs for the data folder {services.data}.",
        kind=ErrorKind.NOT_FOUND,
        about=(About("daemon", str(services.data)),),
    )
