"""Runs libiscsi's conformance suite against any target and prints a table.

    python tests/conformance/run.py URL [URL ...] [--write-protected URL] [--second URL] [--only FAMILY]
    [--verbose]

Each URL is one logical unit of the set under test: a test that needs a removable one is skipped on the
others, so it counts as skipped only when every unit skips it. On a write-protected unit only the family
ReadOnly runs. One process per test with a time limit: a crash or hang of one test must not hide the others.
The exit code of iscsi-test-cu means nothing without options that stop it early, so its summary is read.

ALL DATA on the units is overwritten. Exit code: 0 when every test passed on some unit and failed on none, or
stands in EXPECTED with its reason; else 1.
"""

import argparse
import enum
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import Final

TOOL: Final = "iscsi-test-cu"
SECONDS_MAX: Final = 60
SLOW: Final[dict[str, int]] = {"Sanitize.Reset": 150}
"""Seconds for tests that sleep: this one for 60 s at a time, until its SANITIZE has ended."""
TESTS: Final = 230
"""How many tests version 1.19 has; another number means another suite, and EXPECTED must be looked at
again."""
_SUMMARY = re.compile(r"^\s*tests\s+(?P<total>\d+)\s+(?P<ran>\d+)\s+(?P<passed>\d+)\s+(?P<failed>\d+)", re.MULTILINE)


class Outcome(enum.Enum):
    """What became of one test on one unit."""

    PASSED = "passed"
    FAILED = "FAILED"
    SKIPPED = "skipped"
    CRASHED = "CRASHED"
    HUNG = "HUNG"


GOOD: Final = frozenset({Outcome.PASSED, Outcome.SKIPPED})

EXPECTED: Final[dict[str, str]] = {
    "iSCSITMF.LUNResetSimpleAsync": "its last assertion is wrong, then the tool corrupts its own heap",
    "GetLBAStatus.UnmapSingle": "looks at the wrong block when a physical block holds several logical ones",
}
"""Tests of 1.19 that are wrong themselves, and why; whatever they say is accepted."""

BLOCKS_OF_512: Final = "ProutReserve.Access"
"""Tests that read and write "a block" of 512 bytes whatever the unit's block size is. A unit with larger blocks must
refuse such a write (its data ends inside a block, 05/0E/03), so they are run on the other units only."""


@dataclass(frozen=True, slots=True)
class Result:
    """One test on one unit, with what the tool printed."""

    outcome: Outcome
    text: str


def list_tests() -> list[str]:
    """FAMILY.TEST names in the tool's own order, without its first level (ALL, SCSI, ...)."""
    output = subprocess.run([TOOL, "--list"], capture_output=True, text=True, timeout=SECONDS_MAX).stdout
    return [line.removeprefix("ALL.") for line in output.split() if line.startswith("ALL.") and line.count(".") == 2]


def judge(text: str, return_code: int) -> Outcome:
    """Reads what the tool printed: the CUnit summary, and its own word for a test that did not apply."""
    summary = _SUMMARY.search(text)
    if return_code < 0 or summary is None:
        return Outcome.CRASHED
    if summary["failed"] != "0":
        return Outcome.FAILED
    if "[SKIPPED]" in text or summary["ran"] == "0":
        return Outcome.SKIPPED
    return Outcome.PASSED


def run_test(name: str, url: str, second: str | None = None) -> Result:
    """One test in a process of its own; `second` is another path to the same unit."""
    command = [
        TOOL,
        "--dataloss",
        "--allow-sanitize",
        f"--test=ALL.{name}",
        url,
        *([second] if second else []),
    ]
    seconds = SLOW.get(name, SECONDS_MAX)
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds)
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
        return Result(Outcome.HUNG, output if isinstance(output, str) else output.decode(errors="replace"))
    text = done.stdout + done.stderr
    return Result(judge(text, done.returncode), text)


def run_on_all(name: str, urls: Sequence[str], second: str | None) -> list[Result]:
    """One test on every unit at the same time; the units have nothing to do with each other."""
    with ThreadPoolExecutor(len(urls)) as pool:
        return list(pool.map(lambda url: run_test(name, url, second or url), urls))


def verdict(name: str, outcomes: Sequence[Outcome]) -> Outcome:
    """One outcome over all units: the worst if a test failed anywhere, skipped only if skipped everywhere."""
    if name in EXPECTED:
        return Outcome.PASSED
    bad = [outcome for outcome in outcomes if outcome not in GOOD]
    if bad:
        return bad[0]
    return Outcome.PASSED if Outcome.PASSED in outcomes else Outcome.SKIPPED


Around = Callable[[str], AbstractContextManager[object]]
"""What is to happen around each family of tests; for the captures of test_whole_run.py."""


def main(arguments: Sequence[str] | None = None, around: Around = nullcontext) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Runs iscsi-test-cu, one process per test.")
    parser.add_argument("urls", nargs="+", metavar="URL", help="a unit under test, iscsi://HOST:PORT/IQN/LUN")
    parser.add_argument("--write-protected", metavar="URL", help="a unit for the family ReadOnly alone")
    parser.add_argument("--large-blocks", metavar="URL", help="a unit whose blocks are larger than 512 bytes")
    parser.add_argument("--second", metavar="URL", help="a second path to the unit; default: the same URL again")
    parser.add_argument("--only", metavar="FAMILY", help="a family (Read10) or one test (Read10.Simple)")
    parser.add_argument("--verbose", action="store_true", help="print what the tool said about each failure")
    options = parser.parse_args(arguments)

    names = [name for name in list_tests() if options.only is None or f"{name}.".startswith(f"{options.only}.")]
    if not names:
        print(f"{TOOL} has no test {options.only}; see {TOOL} --list.", file=sys.stderr)
        return 1
    verdicts: dict[str, Outcome] = {}
    for family, members in groupby(names, key=lambda name: name.partition(".")[0]):
        with around(family):
            for name in members:
                verdicts[name] = run_and_print(name, options)
    return _summary(verdicts)


def run_and_print(name: str, options: argparse.Namespace) -> Outcome:
    """One line of the table."""
    urls = [*options.urls]
    if options.write_protected and name.startswith("ReadOnly."):
        urls.append(options.write_protected)
    if options.large_blocks and not name.startswith(BLOCKS_OF_512):
        urls.append(options.large_blocks)
    results = run_on_all(name, urls, options.second)
    columns = "  ".join(f"{result.outcome.value:8}" for result in results)
    remark = f"  (accepted: {EXPECTED[name]})" if name in EXPECTED else ""
    print(f"{name:44}  {columns}{remark}", flush=True)
    if options.verbose:
        for result in results:
            if result.outcome is not Outcome.PASSED:
                print(result.text)
    return verdict(name, [result.outcome for result in results])


def _summary(verdicts: dict[str, Outcome]) -> int:
    counts = {outcome: list(verdicts.values()).count(outcome) for outcome in Outcome}
    print(f"{len(verdicts)} tests: " + ", ".join(f"{count} {outcome.value}" for outcome, count in counts.items()))
    return 0 if counts[Outcome.PASSED] == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
