"""Plays many rounds of power cuts and prints a table: `python -m tests.faults --rounds 500 --seed 1`.

Each seed plays as many rounds as `--rounds` says. The exit status is 1 when a promise was broken.
"""

import argparse
import shutil
import sys
import time

from tests.faults.filesystem import build, scratch
from tests.faults.launcher import Launcher
from tests.faults.rounds import FORMATS, QUICK, DiskRounds

CHUNK = 25
"""Rounds after which the state so far is told."""


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="power cuts (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides the work and the cuts (default: %(default)s)")
    parser.add_argument("--format", action="append", choices=FORMATS, help="only disks of this format (repeated)")
    parser.add_argument("--minutes", type=float, help="plays no round that would begin later")
    parser.add_argument("--lie", action="store_true", help="fsync does nothing: every round must find that")
    options = parser.parse_args()
    deadline = None if options.minutes is None else time.monotonic() + options.minutes * 60
    folder = scratch()
    try:
        program = build(folder)
        with Launcher(QUICK) as launcher:
            rounds = DiskRounds(
                program, launcher, folder, options.seed, formats=options.format or FORMATS, lie=options.lie
            )
            tally = rounds.tally
            for first in range(0, options.rounds, CHUNK):
                rounds.run(min(CHUNK, options.rounds - first), deadline=deadline)
                print(f"{first + CHUNK} rounds, {len(tally.violations)} violations", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(tally.table())
    print(f"\n{len(tally.violations)} violations")
    print(*tally.violations, sep="\n")
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
