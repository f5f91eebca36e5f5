"""The scenarios by name, and how many seeds of each every run of the tests takes."""

from collections.abc import Callable
from typing import Final, NamedTuple

from tests.simulation import dataplane
from tests.simulation.storm import storm


class Scenario(NamedTuple):
    """Something to play with a seed; it raises when something is wrong."""

    play: Callable[[int], object]
    seeds: int
    """In every run."""


SCENARIOS: Final = {
    "any-order": Scenario(dataplane.any_order, 40),
    "lost-at-every-byte": Scenario(dataplane.lost_at_every_byte, 3),
    "one-of-two-lost": Scenario(dataplane.one_of_two_lost, 10),
    "aborted": Scenario(dataplane.aborted, 6),
    "replaced": Scenario(dataplane.replaced, 10),
    "storm": Scenario(storm, 100),
}


def play(name: str, seed: int) -> object:
    """Plays one; what it raises says how to see it again."""
    try:
        return SCENARIOS[name].play(seed)
    except BaseException as failure:
        failure.add_note(f"To see it again: python -m tests.simulation {name} --seed {seed}")
        raise
