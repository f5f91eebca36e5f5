"""Some rounds of power cuts in every run; `python -m tests.faults` plays many."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.launcher import MUTANT, Launcher
from tests.faults.management import ManagementRounds
from tests.faults.mutants import vhd_writer
from tests.faults.rounds import FORMATS, QUICK, DiskRounds

ROUNDS = 6
CUTS = 20


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with Launcher(QUICK) as started:
        yield started


@pytest.mark.parametrize("seed", [1, 2])
def test_flushed_data_survives_power_cuts(program: Path, launcher: Launcher, folder: Path, seed: int) -> None:
    tally = DiskRounds(program, launcher, folder, seed).run(ROUNDS)
    assert tally.violations == []
    for name in FORMATS:
        assert tally.cuts[name] >= ROUNDS and tally.flushes[name]


@pytest.mark.parametrize("name", FORMATS)
def test_a_daemon_whose_fsync_does_nothing_is_caught_in_the_first_round(
    program: Path, launcher: Launcher, folder: Path, name: str
) -> None:
    assert DiskRounds(program, launcher, folder, 1, formats=[name], lie=True).run(1).violations


def test_operations_happen_or_do_not(program: Path, launcher: Launcher, folder: Path) -> None:
    outcome = ManagementRounds(program, launcher, folder, 1).run(CUTS)
    assert outcome.violations == []
    assert outcome.cuts.total() == CUTS and outcome.happened.total()


def test_operations_on_a_disk_whose_fsync_does_nothing_are_caught(
    program: Path, launcher: Launcher, folder: Path
) -> None:
    assert ManagementRounds(program, launcher, folder, 1, lie=True).run(4).violations


@pytest.mark.parametrize("name", ["dynamic", "differencing"])
def test_a_vhd_whose_tables_die_with_the_daemon_is_caught(
    program: Path, launcher: Launcher, folder: Path, name: str
) -> None:
    rounds = DiskRounds(program, launcher, folder, 1, formats=[name], forget=True)
    assert any(rounds.run(5).violations for _ in range(20))


def test_a_vhd_whose_tables_go_out_with_its_data_is_caught(program: Path, folder: Path) -> None:
    """Without the first sync of a flush, a table can be on the disk and the data that it speaks of not."""
    (folder / "mutant").mkdir()
    mutant = vhd_writer(folder / "mutant", "if early or count:", "if not early or not count:")
    with Launcher({**QUICK, MUTANT: mutant}) as launcher:
        rounds = DiskRounds(program, launcher, folder, 1, formats=["dynamic", "differencing"])
        assert any(rounds.run(5).violations for _ in range(20))
