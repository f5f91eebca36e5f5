"""How a case in one thread is measured.

The figure is CPU time and not the time on the wall, so a neighbour that takes the core is not counted. What neighbours
do to caches, to the clock frequency and to the other thread of the core remains, and is too much for comparing two runs
on a busy machine. So the same rounds can also be measured in turn with another process's: see versions.py.
"""

import time
from collections.abc import Callable
from typing import TypeVar

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.turns import Turns

ROUNDS = 300
ROUND_SECONDS_MIN = 1e-3
"""A round is long beside what the clock costs (a third of a microsecond) and short beside a turn of the scheduler."""
WARM_SECONDS = 0.2
"""The processor's caches, its predictors and the interpreter's inline caches have settled by then."""

T = TypeVar("T")


def group(name: str) -> pytest.MarkDecorator:
    """The mark of benchmarks whose lines belong into one table: CPU time of the process, without the collector."""
    return pytest.mark.benchmark(group=name, timer=time.process_time, disable_gc=True)


class Steady:
    """The fixture `steady`: measures a function by rounds whose number does not depend on the machine."""

    def __init__(self, benchmark: BenchmarkFixture, case: str, turns: Turns | None) -> None:
        self._benchmark = benchmark
        self._case = case
        self._turns = turns

    def __call__(self, work: Callable[[], T], **about: object) -> T:
        """Measures work(), and keeps `about` with the figure. `--benchmark-disable` calls it once.

        Returns:
            what work() returned.
        """
        self._benchmark.extra_info.update(about)
        pedantic: Callable[..., T] = self._benchmark.pedantic
        if self._benchmark.disabled:
            return pedantic(work)
        iterations = calibrated(work)
        if self._turns is not None:
            self._turns.take(self._case, work, iterations)
            return pedantic(work)
        return pedantic(work, rounds=ROUNDS, iterations=iterations)


def calibrated(work: Callable[[], object]) -> int:
    """Warms up, and finds how many calls make a round: a power of two, so that two runs seldom differ."""
    iterations, begun = 1, time.process_time()
    while True:
        start = time.process_time()
        for _ in range(iterations):
            work()
        now = time.process_time()
        if now - start < ROUND_SECONDS_MIN:
            iterations *= 2
        elif now - begun >= WARM_SECONDS:
            return iterations
