"""The daemon verifies every golden image now and then, one at a time, in a process that gives way to all other work.

A version is due some days after every byte of it was last compared (or it was sealed); the one that has waited longest
comes first. One whose file was found changed comes before all others: if only its times differ, as after a restore,
nodes get it again without a command.
"""

import threading
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import structlog

from goldherd.catalog.store import now
from goldherd.errors import ErrorKind, GoldherdError
from goldherd.limits import (
    UPKEEP_END_SECONDS,
    VERIFY_FIRST_SECONDS,
    VERIFY_POLL_SECONDS,
    VERIFY_RATE_BYTES,
    VERIFY_RETRY_SECONDS,
    VERIFY_UNREADABLE_SECONDS,
)
from goldherd.model.images import VersionRecord
from goldherd.services.context import Services
from goldherd.services.goldens.verifying import verify
from goldherd.services.images import list_versions
from goldherd.volumes.reading_apart import ReadingApart, StoppedError

log = structlog.get_logger("goldherd.goldens")

_FIRST: Final = -1.0
"""Before every time of the clock: a changed version waits for no other."""


class Schedule:
    """Verifies the golden images of a data folder in turn.

    Args:
        services: the catalog, in which the outcome is noted.
        every_seconds: after this time each is verified again; 0: none ever is.
        rate: bytes per second; 0 sets no bound.
    """

    def __init__(self, services: Services, every_seconds: float, rate: int = VERIFY_RATE_BYTES) -> None:
        self._services, self._every = services, every_seconds
        self._reading = ReadingApart(rate)
        self._stop = False
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="golden verify", daemon=True)
        self._wanted: set[str] = set()
        """Versions that may be right again."""
        self._tried: dict[str, float] = {}
        """Version to the time (monotonic) before which it is not tried again."""
        self._under_way: dict[str, Any] | None = None

    def start(self) -> None:
        """Verifies what is due from now on, if anything ever is."""
        if self._every:
            self._thread.start()

    def stop(self) -> None:
        """Ends the verification under way; its version stays due."""
        self._stop = True
        self._reading.stop()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(UPKEEP_END_SECONDS)

    def want(self, name: str) -> None:
        """A changed version has been touched again: it is verified soon."""
        self._tried.pop(name, None)
        self._wanted.add(name)
        self._woken.set()

    def status(self) -> dict[str, Any] | None:
        """The verification under way, for `goldherd status`; None: there is none."""
        return self._under_way

    def _run(self) -> None:
        begins = time.monotonic() + min(self._every, VERIFY_FIRST_SECONDS)
        while not self._stop:
            try:
                self.run_due(only_changed=time.monotonic() < begins)
            except GoldherdError as failure:
                log.error("golden images could not be verified", reason=str(failure))
            except Exception:
                log.exception("golden images could not be verified")
            self._woken.wait(min(self._every / 8, VERIFY_POLL_SECONDS))
            self._woken.clear()

    def run_due(self, *, only_changed: bool = False) -> list[str]:
        """Verifies every version that is due, one after the other; their names."""
        done = []
        while not self._stop and (version := self._next(list_versions(self._services), only_changed)) is not None:
            self._verify(version)
            done.append(version.name)
        return done

    def _next(self, versions: Iterable[VersionRecord], only_changed: bool) -> VersionRecord | None:
        clock, wall = time.monotonic(), time.time()
        waiting = [
            (due, version.name, version)
            for version in versions
            if (due := self._due(version)) <= (_FIRST if only_changed else wall)
            and self._tried.get(version.name, clock) <= clock
        ]
        return min(waiting)[2] if waiting else None

    def _due(self, version: VersionRecord) -> float:
        """When a version is to be verified: seconds since 1970."""
        if version.name in self._wanted or (version.changed is not None and version.outcome is None):
            return _FIRST
        if version.changed is not None and version.outcome == "right":  # it was right before it was changed
            return _FIRST
        after = self._every if version.outcome != "unreadable" else min(self._every, VERIFY_UNREADABLE_SECONDS)
        return datetime.fromisoformat(version.verified_at or version.created_at).timestamp() + after

    def _verify(self, version: VersionRecord) -> None:
        name = version.name
        self._wanted.discard(name)
        began = time.monotonic()
        total = version.seal.file_bytes
        self._under_way = {"version": name, "done_bytes": 0, "total_bytes": total, "started_at": now()}

        def progress(_stage: str, done: int, total: int) -> None:
            if self._under_way is not None:
                self._under_way = {**self._under_way, "done_bytes": done, "total_bytes": total}

        try:
            done = verify(self._services, version.ref, progress, self._reading)
        except StoppedError:
            log.info("the verification of a golden image was stopped: it is done again later", version=name)
        except GoldherdError as failure:
            wait = self._every if failure.kind is ErrorKind.INVALID else min(self._every, VERIFY_RETRY_SECONDS)
            self._tried[name] = time.monotonic() + wait
            log.error("a golden image could not be verified", version=name, reason=str(failure))
        else:
            log.info(
                "a golden image was verified: every byte is right",
                version=name,
                seconds=round(time.monotonic() - began, 1),
                usable_again=done.cleared is not None,
            )
        finally:
            self._under_way = None
