"""Steps of reactors that took long: every session of such a reactor waited for them.

The reactors count (session/core.pxd); this says it to the administrator, in `status` and in the log.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, TypedDict

import structlog

from goldherd.limits import SLOW_STEP_LOG_SECONDS
from goldherd.session.codes import StepWork

log = structlog.get_logger("goldherd.reactors")

WORDS: Final = {
    StepWork.STEP_COMMANDS: "commands",
    StepWork.STEP_MESSAGES: "messages",
    StepWork.STEP_RECEIVE: "receive",
    StepWork.STEP_SEND: "send",
    StepWork.STEP_WRITE: "write",
    StepWork.STEP_TIMERS: "timers",
}


class SlowStep(TypedDict):
    """The slow steps of one reactor with one kind of work."""

    reactor: int
    doing: str
    """What took most of such a step: a word of WORDS."""
    count: int
    longest_ms: int


class Counting(Protocol):
    """What a reactor counts of its own steps."""

    @property
    def number(self) -> int:
        """The reactor's."""
        ...

    def slow_steps(self) -> Mapping[StepWork, tuple[int, int]]:
        """What took most of a slow step -> (how many since the start, the longest in milliseconds)."""
        ...


class SlowSteps:
    """What is said of slow steps.

    Args:
        reactors: all of the server.
        clock: seconds.
    """

    def __init__(self, reactors: Sequence[Counting], clock: Callable[[], float] = time.monotonic) -> None:
        self._reactors, self._clock = reactors, clock
        self._told: dict[tuple[int, str], int] = {}
        self._quiet_until = 0.0

    def all(self) -> list[SlowStep]:
        """Those since the start."""
        return [
            SlowStep(reactor=reactor.number, doing=WORDS[work], count=count, longest_ms=longest_ms)
            for reactor in self._reactors
            for work, (count, longest_ms) in reactor.slow_steps().items()
        ]

    async def tell(self) -> None:
        """Writes those that are new into the log, once in SLOW_STEP_LOG_SECONDS; call it every few seconds."""
        if self._clock() < self._quiet_until:
            return
        for step in self.all():
            place = step["reactor"], step["doing"]
            new = step["count"] - self._told.get(place, 0)
            if new:
                log.warning(
                    "steps of a reactor took long, and all of its sessions waited",
                    reactor=step["reactor"],
                    doing=step["doing"],
                    steps=new,
                    longest_ms=step["longest_ms"],
                )
                self._told[place] = step["count"]
                self._quiet_until = self._clock() + SLOW_STEP_LOG_SECONDS
