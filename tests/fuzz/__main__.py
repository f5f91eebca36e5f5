"""Fuzzes with atheris (libFuzzer guided by coverage):

    python -m tests.fuzz --minutes 60            all targets, one after the other, an equal share of the time each
    python -m tests.fuzz login --seconds 5       one target
    python -m tests.fuzz scsi FILE...            only these inputs: how a finding is replayed

The corpus in the tree is only read; what is found on the way goes to --keep FOLDER (default: a temporary one), and an
input that fails is written there (default: the current one) as crash-*, and the exception is printed. Exit code 0:
nothing was found.

`framing` is about compiled code, so it is built with sanitizers and coverage first (a minute), in a copy of the tree:
`scripts/sanitize fuzz framing ...` does the same, and runs the others in that way too. By themselves they are guided
by the coverage of the Python code; compiled parts are run, not instrumented.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["goldherd", "goldherd_plugins"]):
    from tests.fuzz.targets import CORPUS, TARGETS

ROOT = Path(__file__).parents[2]
SEED = 1
"""The same first steps in every run."""


def fuzz(name: str, seconds: int, seed: int, keep: Path, findings: Path, files: Sequence[str]) -> None:
    """Runs one target in this process, which libFuzzer ends."""
    target = TARGETS[name]
    # Read before the run: what it writes goes to the first folder only.
    folders = files or [str(keep), str(CORPUS / name)]
    # libFuzzer's limit of resident memory counts the peak of whoever started us (it survives exec), so single
    # allocations are limited instead.
    options = [f"-max_len={target.bytes_max}", f"-max_total_time={seconds}", f"-seed={seed}"]
    options += ["-rss_limit_mb=0", "-malloc_limit_mb=512"]
    atheris.Setup([sys.argv[0], *options, "-timeout=20", f"-artifact_prefix={findings}/", *folders], target.run)
    atheris.Fuzz()


def instrumented() -> bool:
    """Whether the compiled modules are those that scripts/sanitize has built for fuzzing."""
    return "asan_with_fuzzer" in os.environ.get("LD_PRELOAD", "")


def instrument() -> NoReturn:
    """The same command again, by scripts/sanitize."""
    arguments = [str(ROOT / "scripts/sanitize"), "fuzz", *sys.argv[1:]]
    os.execve(arguments[0], arguments, {**os.environ, "PYTHON": sys.executable})


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="?", choices=sorted(TARGETS))
    parser.add_argument("files", nargs="*", help="inputs to run once")
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--keep", type=Path, help="where inputs that reach something new are kept")
    options = parser.parse_args()
    if options.target is not None and TARGETS[options.target].compiled and not instrumented():
        instrument()
    seconds = options.minutes * 60 + options.seconds or 60
    place = nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory(prefix="goldherd-fuzz-")
    with place as made:  # what fuzzes ends without coming back here, so that nothing may be left to clean up
        keep = Path(made)
        if options.target is not None:
            (keep / options.target).mkdir(parents=True, exist_ok=True)
            findings = options.keep or Path.cwd()
            fuzz(options.target, max(int(seconds), 1), options.seed, keep / options.target, findings, options.files)
        share = seconds / len(TARGETS)
        common = ["--seconds", str(share), "--seed", str(options.seed), "--keep", str(keep)]
        return max(
            subprocess.run([sys.executable, "-m", "tests.fuzz", name, *common], check=False).returncode
            for name in TARGETS
        )


if __name__ == "__main__":
    sys.exit(main())
