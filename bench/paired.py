"""Two targets side by side: CPU per command and commands per second, as medians of per-round ratios.

    python -m bench.paired                                  goldherd against tgtd, all cases
    python -m bench.paired --base goldherd --other overlay  what a differencing child costs per read
    python -m bench.paired --base raw:a.raw --other mine:b  goldherd on two disks: what does a backend cost?

Read README.md in this folder before believing a figure. Targets run on core 0, the generator on core 1, every
process in a session of its own.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from bench.apart import apart
from bench.build import build
from bench.contender import CASES, LOGINS, SERVERS, Case, Contender, Window, is_disk
from bench.pattern import write_pattern

MIB = 1 << 20
GENERATOR_CPU = 1
LOGINS_PER_WINDOW = 100
OVERLAY_WANTED = 0.87
"""A differencing child over a golden parent is at most 15 % dearer per read than a raw file."""
SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Verdict:
    """A case over all rounds."""

    case: str
    cpu_ratio: float
    """Median over the rounds of the base's CPU per command to the other's: above 1, the other is cheaper."""
    cpu_ratio_least: float
    cpu_ratio_most: float
    rate_ratio: float
    base: Window
    other: Window
    wanted: float | None


def median_window(windows: list[Window]) -> Window:
    """Field by field."""
    return Window(*(statistics.median(column) for column in zip(*map(astuple, windows), strict=True)))


def promised(case: Case, base: str, other: str) -> float | None:
    """The least ratio this project promises for a case of these two, if it promises one."""
    if (base, other) == ("tgtd", "goldherd"):
        return case.wanted
    if (base, other) == ("goldherd", "overlay") and case.block_bytes and not case.write:
        return OVERLAY_WANTED
    return None


def judge(case: Case, pairs: list[tuple[Window, Window]], wanted: float | None = None) -> Verdict:
    """The medians of the per-round ratios; a round's neighbours on the machine hit both of its windows."""
    cpu = [base.cpu_us / other.cpu_us for base, other in pairs]
    rate = [other.rate / base.rate for base, other in pairs]
    return Verdict(
        case.name,
        statistics.median(cpu),
        min(cpu),
        max(cpu),
        statistics.median(rate),
        median_window([base for base, _ in pairs]),
        median_window([other for _, other in pairs]),
        wanted,
    )


def run_rounds(
    rounds: int, base: Contender, other: Contender, measure: Callable[[Contender], Window]
) -> list[tuple[Window, Window]]:
    """Alternates who comes first, so that what the machine remembers of one helps the other as often."""
    pairs = []
    for number in range(rounds):
        order = (base, other) if number % 2 == 0 else (other, base)
        windows = {id(contender): measure(contender) for contender in order}
        pairs.append((windows[id(base)], windows[id(other)]))
    return pairs


def run_case(case: Case, base: Contender, other: Contender, rounds: int, seconds: float) -> list[tuple[Window, Window]]:
    """All rounds of one case."""
    if case is LOGINS:
        return run_rounds(rounds, base, other, lambda contender: contender.logins(LOGINS_PER_WINDOW))
    for contender in (base, other):
        contender.connect(case.sessions)
    try:
        return run_rounds(rounds, base, other, lambda contender: contender.window(case, seconds))
    finally:
        for contender in (base, other):
            contender.disconnect()


COLUMNS = ("case", "CPU", "least-most", "wanted", "rate", "us", "us", "/s", "/s", "p50 us", "p50 us")
WIDTHS = (-15, 8, 14, 8, 8, 11, 11, 11, 11, 9, 9)


def line(cells: Sequence[str]) -> str:
    """Cells in their columns; a negative width is flush left."""
    return "".join(
        f"{cell:>{width}}" if width > 0 else f"{cell:<{-width}}" for cell, width in zip(cells, WIDTHS, strict=True)
    )


def row(verdict: Verdict) -> str:
    """One line of the table."""
    base, other = verdict.base, verdict.other
    return line(
        (
            verdict.case,
            f"{verdict.cpu_ratio:.2f}",
            f"{verdict.cpu_ratio_least:.2f}-{verdict.cpu_ratio_most:.2f}",
            "" if verdict.wanted is None else f"{verdict.wanted:g}",
            f"{verdict.rate_ratio:.2f}",
            f"{base.cpu_us:.2f}",
            f"{other.cpu_us:.2f}",
            f"{base.rate:.0f}",
            f"{other.rate:.0f}",
            f"{base.p50_us:.0f}",
            f"{other.p50_us:.0f}",
        )
    )


def contender(name: str, image: Path, folder: Path, options: argparse.Namespace) -> Contender:
    """A target that runs; a disk that the user named is overwritten when the user said so."""
    return Contender(name, image, folder, fill=options.fill and is_disk(name))


def measure_all(options: argparse.Namespace, folder: Path, tmpfs: Path) -> list[Verdict]:
    """Every chosen case; reads share an image in the page cache if they may, writes have one each on tmpfs."""
    cases = [case for case in (*CASES, LOGINS) if not options.only or options.only in case.name]
    named = [name for name in (options.base, options.other) if is_disk(name)]
    verdicts = []
    for write in (False, True):
        chosen = [case for case in cases if case.write is write]
        if not chosen or (write and named and not options.fill):
            continue
        place, size = (tmpfs, options.write_mib * MIB) if write else (folder, options.image_mib * MIB)
        if len(named) == 2:
            size = 0  # both serve their own disk
        names = (0, 1) if write or options.base == "before" else (0,)  # one writer per file: goldherd locks it
        images = [write_pattern(place / f"{name}.raw", size) for name in names]
        with contextlib.ExitStack() as running:
            base = running.enter_context(contender(options.base, images[0], folder / f"base-{write}", options))
            other = running.enter_context(contender(options.other, images[-1], folder / f"other-{write}", options))
            for case in chosen:
                pairs = run_case(case, base, other, options.rounds, options.seconds)
                verdicts.append(judge(case, pairs, promised(case, options.base, options.other)))
                print(row(verdicts[-1]), flush=True)
    return verdicts


def cpu_model() -> str:
    """The processor's own name."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


TARGETS = f"{', '.join(SERVERS)}, or FORMAT:LOCATION: goldherd on that disk"


def contender_name(text: str) -> str:
    """What --base and --other take."""
    if text in SERVERS or is_disk(text):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is no target; there are {TARGETS}")


def parse(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.paired", description="Two targets side by side.")
    parser.add_argument("--base", type=contender_name, default="tgtd", metavar="TARGET", help=TARGETS)
    parser.add_argument("--other", type=contender_name, default="goldherd", metavar="TARGET", help="the same")
    parser.add_argument(
        "--fill", action="store_true", help="overwrite the named disks with the pattern, and measure writes"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one window")
    parser.add_argument("--image-mib", type=int, default=1024)
    parser.add_argument("--write-mib", type=int, default=256, help="of the images on tmpfs for writes")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a case misses what is wanted")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    """Measures, prints the table and perhaps the JSON."""
    options = parse(words)
    build()
    os.sched_setaffinity(0, {GENERATOR_CPU})
    folder = Path(tempfile.mkdtemp(prefix="goldherd-bench-"))
    tmpfs = Path(tempfile.mkdtemp(prefix="goldherd-bench-", dir=SHARED_MEMORY))
    from bench.loadgen import LoadError  # compiled just now

    try:
        load = os.getloadavg()[0]
        print(f"{options.base}, then {options.other}; {options.rounds} rounds of {options.seconds} s")
        print(f"{cpu_model()}, Linux {platform.release()}, load average {load:.2f}\n")
        print(line(COLUMNS))
        verdicts = measure_all(options, folder, tmpfs)
    except LoadError as error:
        print(f"bench.paired: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(tmpfs)
    if options.json:
        figures = {
            "base": options.base,
            "other": options.other,
            "load_average": load,
            "rounds": options.rounds,
        }
        options.json.write_text(json.dumps({**figures, "cases": [asdict(v) for v in verdicts]}, indent=2) + "\n")
    missed = [verdict.case for verdict in verdicts if verdict.wanted and verdict.cpu_ratio < verdict.wanted]
    if options.check and missed:
        print(f"\nbelow what is wanted: {', '.join(missed)}")
    return int(options.check and bool(missed))


if __name__ == "__main__":
    sys.exit(apart(main, sys.argv[1:]))
