"""Throughput over loopback, a window per round: python -m pytest bench/bench_throughput.py

These are figures of this machine and this moment, for comparing a change with itself. Whoever compares
targets uses paired.py.
"""

from collections.abc import Callable, Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.contender import CASES, Case, Contender
from bench.pattern import write_pattern

IMAGE_BYTES = 256 << 20
BYTES_PER_ROUND = 64 << 20


@pytest.fixture(scope="module", params=["goldherd", "tgtd"])
def contender(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contender]:
    """A running target over an image in the page cache."""
    folder = tmp_path_factory.mktemp("throughput")
    image = write_pattern(folder / "image.raw", IMAGE_BYTES)
    with Contender(request.param, image, folder / request.param) as running:
        yield running


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_throughput(benchmark: BenchmarkFixture, contender: Contender, case: Case) -> None:
    """A fixed number of commands, spread over the sessions of the case."""
    contender.connect(case.sessions)
    count = max(case.depth, BYTES_PER_ROUND // case.block_bytes // case.sessions)
    try:
        benchmark.extra_info["commands"] = count * case.sessions
        measure: Callable[..., object] = benchmark.pedantic
        measure(contender.run, (case,), {"count_max": count}, rounds=5, warmup_rounds=1)
    finally:
        contender.disconnect()
