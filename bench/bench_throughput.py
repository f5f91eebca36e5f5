"""CPU time of a target process for a fixed number of commands: python -m pytest bench/bench_throughput.py

These are figures of this machine and this moment. paired.py compares targets, and versions of one.
"""

from collections.abc import Callable, Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.accounting import cpu_seconds
from bench.build import build
from bench.contender import CASES, Case, Contender
from bench.pattern import write_pattern

IMAGE_BYTES = 256 << 20
BYTES_PER_ROUND = 64 << 20
ROUNDS = 9


class TargetClock:
    """A clock that shows the CPU time of the target that is measured."""

    pid = 0

    def __call__(self) -> float:
        """Seconds of all its threads."""
        return cpu_seconds(self.pid)


clock = TargetClock()


@pytest.fixture(scope="module", params=["goldherd", "tgtd"])
def contender(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contender]:
    """A running target over an image in the page cache."""
    build()
    folder = tmp_path_factory.mktemp("throughput")
    image = write_pattern(folder / "image.raw", IMAGE_BYTES)
    with Contender(request.param, image, folder / request.param) as running:
        clock.pid = running.export.pid
        yield running


MARKED = [
    pytest.param(
        case, id=case.name, marks=pytest.mark.benchmark(group=f"throughput: {case.name}", timer=clock, disable_gc=True)
    )
    for case in CASES
]


@pytest.mark.parametrize("case", MARKED)
def test_throughput(benchmark: BenchmarkFixture, contender: Contender, case: Case) -> None:
    """A fixed number of commands, spread over the sessions of the case."""
    contender.connect(case.sessions)
    count = max(case.depth, BYTES_PER_ROUND // case.block_bytes // case.sessions)
    try:
        benchmark.extra_info["commands"] = count * case.sessions
        measure: Callable[..., object] = benchmark.pedantic
        measure(contender.run, (case,), {"count_max": count}, rounds=ROUNDS, warmup_rounds=1)
    finally:
        contender.disconnect()
