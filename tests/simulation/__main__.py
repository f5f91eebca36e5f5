"""Simulations by command: one seed again, or new seeds for as long as you like.

python -m tests.simulation                          every scenario, 60 seconds
python -m tests.simulation storm --minutes 60       one of them, for an hour
python -m tests.simulation storm --seed 17          the seed that a failure named
"""

import argparse
import random
import sys
import time
import traceback
from itertools import cycle

from tests.simulation.scenarios import SCENARIOS, play


def main() -> int:
    """The command; 1 when a scenario failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenario", nargs="?", choices=[*SCENARIOS], help="default: all of them in turn")
    parser.add_argument("--seed", type=int, help="play just this one")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long; default: 1")
    options = parser.parse_args()
    names = [options.scenario] if options.scenario else [*SCENARIOS]
    if options.seed is not None:
        return max(run(name, options.seed) for name in names)
    until = time.monotonic() + options.minutes * 60
    for runs, name in enumerate(cycle(names)):
        if sys.stdout.isatty():
            print(f"\r{runs} runs, none failed", end="", flush=True)
        if time.monotonic() > until:
            print(f"\r{runs} runs, none failed")
            break
        if run(name, random.randrange(1 << 32)):
            return 1
    return 0


def run(name: str, seed: int) -> int:
    """One of them; 1 when it failed, and why."""
    try:
        play(name, seed)
    except Exception:
        print()
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
