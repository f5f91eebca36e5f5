"""Two versions of goldherd (or of a plugin) side by side, case by case, without a target process or a socket.

    python -m bench.versions --before ../before/.venv/bin/python [bench/bench_plan.py ...] [-- pytest options]

Two processes run the same benchmarks of this tree, one with each interpreter, and take turns round by round on one
core. A round and its neighbour meet the same machine, so their ratio says what differs between the two versions.
README.md in this folder says what a ratio is worth.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from bench.turns import Stream

ROOT = Path(__file__).parent.parent
IN_ONE_THREAD = ("bench/bench_framer.py", "bench/bench_plan.py", "bench/bench_read_path.py")
END_SECONDS_MAX = 60


class VersionsError(Exception):
    """The two processes could not be compared; the text says why."""


class Worker:
    """One interpreter that runs the benchmarks and does a round when it is told to."""

    def __init__(self, python: str, words: Sequence[str]) -> None:
        self.python = python
        ours, theirs = socket.socketpair()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        turns = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout=0", f"--turns={theirs.fileno()}")
        self._child = subprocess.Popen(
            [python, *turns, *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._stream: Stream = ours.makefile("rwb")
        ours.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        self._stream.close()
        self._log.close()

    def next_case(self) -> tuple[str, int] | None:
        """(name, calls of a round) of the case that is warm now; None at the end of all.

        Raises: VersionsError with the worker's own words when it failed.
        """
        line = self._stream.readline().decode()
        if line:
            _, calls, name = line.rstrip("\n").split(" ", 2)
            return name, int(calls)
        status = self._child.wait(END_SECONDS_MAX)
        if status:
            self._log.seek(0)
            words = self._log.read().decode(errors="replace")[-4000:]
            raise VersionsError(f"The benchmarks failed with {self.python}:\n{words}")
        return None

    def round(self, calls: int) -> int:
        """CPU time of a round of that many calls, nanoseconds."""
        self._say(calls)
        line = self._stream.readline()
        if not line:
            self.next_case()
            raise VersionsError(f"{self.python} ended in the middle of a case.")
        return int(line)

    def no_more(self) -> None:
        """Lets the worker go on to its next case."""
        self._say(0)

    def _say(self, number: int) -> None:
        self._stream.write(b"%d\n" % number)
        self._stream.flush()


@dataclass
class Verdict:
    """A case over all pairs of processes."""

    case: str
    ratios: list[float] = field(default_factory=list)
    """Of each pair: the median over its rounds of CPU time after to before; above 1, the case has become dearer."""
    before_us: list[float] = field(default_factory=list)
    after_us: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The median of the pairs."""
        return statistics.median(self.ratios)

    def slower(self, limit: float) -> bool:
        """Whether every pair says that the case costs more than `limit` (0.05: 5 %) more."""
        return min(self.ratios) > 1 + limit

    def __str__(self) -> str:
        spread = f"{min(self.ratios):.3f}-{max(self.ratios):.3f}"
        before, after = statistics.median(self.before_us), statistics.median(self.after_us)
        return f"{self.case.removeprefix('bench/'):<58}{self.ratio:>8.3f}{spread:>14}{before:>11.1f}{after:>11.1f}"


HEADING = f"{'case':<58}{'ratio':>8}{'least-most':>14}{'before us':>11}{'after us':>11}"


def compare(before: Worker, after: Worker, rounds: int, verdicts: dict[str, Verdict]) -> None:
    """Runs all cases of two workers in turn, and adds what they say to the verdicts."""
    while True:
        old, new = before.next_case(), after.next_case()
        if old is None and new is None:
            return
        if old is None or new is None or old[0] != new[0]:
            raise VersionsError(f"The two do not run the same cases: {old} with one, {new} with the other.")
        case, calls = old
        pairs = []
        for number in range(rounds):
            first, second = (before, after) if number % 2 == 0 else (after, before)
            spent = {id(worker): worker.round(calls) for worker in (first, second)}
            pairs.append((spent[id(before)], spent[id(after)]))
        before.no_more()
        after.no_more()
        verdict = verdicts.setdefault(case, Verdict(case))
        verdict.ratios.append(statistics.median(new_ns / old_ns for old_ns, new_ns in pairs))
        verdict.before_us.append(min(old_ns for old_ns, _ in pairs) / calls / 1e3)
        verdict.after_us.append(min(new_ns for _, new_ns in pairs) / calls / 1e3)


def parse(words: list[str]) -> argparse.Namespace:
    """The command line."""
    about = "Two versions side by side, case by case."
    parser = argparse.ArgumentParser(prog="python -m bench.versions", description=about)
    parser.add_argument("--before", required=True, metavar="PYTHON", help="of the other installation")
    parser.add_argument("--after", default=sys.executable, metavar="PYTHON", help="this one, unless said otherwise")
    parser.add_argument("--rounds", type=int, default=200, help="of each case and pair of processes")
    parser.add_argument("--pairs", type=int, default=3, help="of processes, one after the other")
    parser.add_argument("--fail", type=float, metavar="PERCENT", help="exit with 1 when a case costs that much more")
    parser.add_argument("--cpu", type=int, default=0, help="the core that both run on")
    parser.add_argument("pytest", nargs="*", help="files and options of pytest; without, what runs in one thread")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    """Measures and prints the table."""
    options = parse(words)
    os.sched_setaffinity(0, {options.cpu})
    verdicts: dict[str, Verdict] = {}
    try:
        for _ in range(options.pairs):
            chosen = options.pytest or IN_ONE_THREAD
            with Worker(options.before, chosen) as before, Worker(options.after, chosen) as after:
                compare(before, after, options.rounds, verdicts)
    except VersionsError as error:
        print(error, file=sys.stderr)
        return 2
    print(HEADING)
    for verdict in verdicts.values():
        print(verdict)
    slower = [verdict.case for verdict in verdicts.values() if options.fail and verdict.slower(options.fail / 100)]
    if slower:
        print(f"\ndearer by more than {options.fail:g} %: {', '.join(slower)}")
    return int(bool(slower))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
