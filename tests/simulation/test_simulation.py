"""Every scenario with its first seeds. A failure says with which command to see it again."""

import pytest

from tests.simulation.scenarios import SCENARIOS, play
from tests.simulation.storm import Storm


@pytest.mark.parametrize(
    ("name", "seed"), [(name, seed) for name, scenario in SCENARIOS.items() for seed in range(scenario.seeds)]
)
def test_scenario(name: str, seed: int) -> None:
    play(name, seed)


def test_the_same_seed_is_the_same_storm() -> None:
    def outcome() -> tuple[dict[str, int], float, bytes]:
        storm = Storm(5)
        storm.run()
        return storm.counts, storm.loop.now, storm.disks[-1].read(0, 1 << 20)

    assert outcome() == outcome()


def test_storms_do_what_they_are_for() -> None:
    """Sessions are replaced in their middle, writes land; or their silence would say nothing."""
    storms = [Storm(seed) for seed in range(4)]
    for storm in storms:
        storm.run()
    assert sum(storm.counts["replaced"] for storm in storms) > 10
    assert sum(len(storm.landed) for storm in storms) > 100
