"""Plays many rounds of power cuts and prints tables: `python -m tests.faults --rounds 500 --management 500 --seed 1`.

Rounds are work on disks, and then operations of an administrator. The exit status is 1 when a promise was broken.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable

from tests.faults.filesystem import build, scratch
from tests.faults.launcher import Launcher
from tests.faults.management import ManagementRounds
from tests.faults.rounds import FORMATS, QUICK, DiskRounds

CHUNK = 25
"""Rounds after which the state so far is told."""


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="power cuts (default: %(default)s)")
    parser.add_argument("--management", type=int, default=0, help="power cuts of operations (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides the work and the cuts (default: %(default)s)")
    parser.add_argument("--format", action="append", choices=FORMATS, help="only disks of this format (repeated)")
    parser.add_argument("--minutes", type=float, help="plays no round that would begin later")
    parser.add_argument("--lie", action="store_true", help="fsync does nothing: every round must find that")
    options = parser.parse_args()
    deadline = None if options.minutes is None else time.monotonic() + options.minutes * 60
    folder = scratch()
    tables: list[str] = []
    violations: list[str] = []
    try:
        program = build(folder)
        with Launcher(QUICK) as launcher:
            if options.rounds:
                kinds = options.format or FORMATS
                (folder / "disks").mkdir()
                rounds = DiskRounds(program, launcher, folder / "disks", options.seed, formats=kinds, lie=options.lie)
                _in_chunks(options.rounds, lambda count: rounds.run(count, deadline=deadline).violations)
                tables.append(rounds.tally.table())
                violations += rounds.tally.violations
            if options.management:
                (folder / "management").mkdir()
                cuts = ManagementRounds(program, launcher, folder / "management", options.seed, lie=options.lie)
                _in_chunks(options.management, lambda count: cuts.run(count, deadline=deadline).violations)
                tables.append(cuts.outcome.table())
                violations += cuts.outcome.violations
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n\n".join([*tables, f"{len(violations)} violations", *violations]))
    return 1 if violations else 0


def _in_chunks(rounds: int, play: Callable[[int], list[str]]) -> None:
    for done in range(0, rounds, CHUNK):
        violations = play(min(CHUNK, rounds - done))
        print(f"{min(rounds, done + CHUNK)} rounds, {len(violations)} violations", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
