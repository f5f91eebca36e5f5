"""What all benchmarks share: how a round is measured, and which backends are."""

import socket
from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.steady import Steady
from bench.turns import Turns

CONDUCTOR = pytest.StashKey[Turns | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this folder."""
    backends = parser.getgroup("goldherd's backends (bench_backend.py)")
    backends.addoption(
        "--backend",
        action="append",
        metavar="DISK",
        help="FILE or FORMAT:LOCATION as for goldherd export; may be repeated",
    )
    backends.addoption("--backend-writes", action="store_true", help="overwrite the named disks to measure writes")
    parser.addoption("--turns", type=int, metavar="FD", help="used by bench.versions: a socket to its conductor")


def pytest_configure(config: pytest.Config) -> None:
    """Opens the way to the conductor."""
    descriptor = config.getoption("--turns")
    turns = None
    if descriptor is not None:
        turns = Turns(socket.socket(fileno=descriptor).makefile("rwb"))
    config.stash[CONDUCTOR] = turns


@pytest.fixture
def steady(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Iterator[Steady]:
    """Measures a function by fixed rounds of CPU time."""
    yield Steady(benchmark, request.node.nodeid, request.config.stash[CONDUCTOR])
