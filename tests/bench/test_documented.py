"""The commands of bench/README.md run, each in a short form, with an example's plugin as one's own."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.pattern import write_pattern

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "bench" / "README.md").read_text()
COMMANDS = re.findall(r"^    ((?:\w+=\S+ )?python -m .*)$", README, re.MULTILINE)
SAVED = [command for command in COMMANDS if "--benchmark-" in command]
SHORT = {
    "bench.paired": "--rounds 1 --seconds 0.05 --image-mib 4 --write-mib 4 --only x8",
    "bench.versions": "--rounds 2 --pairs 1 -- bench/bench_framer.py -k 65536-plain",
    "bench.handover": "--nodes 4 --golden-mib 2 --times 1",
    "bench.storm": "--nodes 48 --golden-mib 2",
    "bench.hung_disks": "--nodes 12 --sick 2 --rounds 1 --seconds 0.2 --golden-mib 2",
    "bench.soak": "--hours 0.003 --idle 24 --busy 2",
    "bench.pattern": "--mib 2",
    "pytest": "-q -p no:cacheprovider --benchmark-disable",
}
"""Options that make a measurement short; it then measures nothing worth knowing."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The disks that the document speaks of, and the example's plugin as pip would install it."""
    for name in ("disk.raw", "a.raw", "b.raw"):
        write_pattern(tmp_path / name, 4 << 20)
    shutil.make_archive(str(tmp_path / "disk"), "zip", tmp_path, "disk.raw")
    info = tmp_path / "site" / "goldherd_zip-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: goldherd-zip\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[goldherd]\nzip = goldherd_zip\n")
    return tmp_path


def run(command: str, folder: Path, *more: str) -> str:
    """What a command of the document prints."""
    assignments = [word for word in shlex.split(command) if re.match(r"[A-Z_]+=", word)]
    words = [word for word in shlex.split(command) if word not in assignments]
    python = "../before/.venv/bin/python"
    words = [word.replace(python, sys.executable) for word in words]
    words = [re.sub(r"\b(disk|a|b)\.(raw|zip)$", rf"{folder}/\g<0>", word) for word in words]
    paths = (folder / "site", ROOT / "examples" / "plugin_zip")
    done = subprocess.run(
        [sys.executable, *words[1:], *more],
        cwd=ROOT,
        env={
            **os.environ,
            **dict(word.replace(python, sys.executable).split("=", 1) for word in assignments),
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
        },
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in SAVED])
def test_command_runs(command: str, folder: Path) -> None:
    program = re.findall(r"-m (\S+)", command)[0]
    more = shlex.split(SHORT[program])
    if command.endswith("pytest bench"):
        more += ["-k", "1x1 or raw or plain or 64-128-8"]
    run(command, folder, *more)


def test_saved_figures_are_compared(folder: Path) -> None:
    saved = ("-k", "raw", "-p", "no:cacheprovider", f"--benchmark-storage={folder / 'saved'}")
    for command in SAVED:
        printed = run(command.replace("min:10%", "min:1000%"), folder, *saved)
    assert "look-up: 1,000 plans of 4 KiB': 2 tests" in printed  # the saved one and the new one


def test_every_way_of_comparing_is_documented() -> None:
    assert {re.findall(r"-m (\S+)", command)[0] for command in COMMANDS} == SHORT.keys()


def measure(folder: Path, *disks: str | Path, writes: bool = False) -> str:
    """Every access to the disks, once."""
    named = [*(f"--backend={disk}" for disk in disks), *(["--backend-writes"] if writes else [])]
    return run("python -m pytest bench/bench_backend.py", folder, "-v", *shlex.split(SHORT["pytest"]), *named)


def test_own_plugin_is_measured_beside_ours(folder: Path) -> None:
    disks = [f"raw:{folder / 'disk.raw'}", f"zip:{folder / 'disk.zip'}"]
    printed = measure(folder, *disks)
    assert "6 passed" in printed


def test_disks_that_are_named_are_written_to_only_when_asked(folder: Path) -> None:
    disk = folder / "disk.raw"
    before = disk.read_bytes()
    measure(folder, disk)
    assert disk.read_bytes() == before
    measure(folder, disk, writes=True)
    assert disk.read_bytes() != before


def test_disk_without_the_pattern_is_told_what_to_do(folder: Path) -> None:
    (folder / "disk.raw").write_bytes(b"other" * 1024 * 1024)
    command = [
        sys.executable,
        "-m",
        "bench.paired",
        f"--base=raw:{folder / 'disk.raw'}",
        "--other=goldherd",
        "--image-mib=1",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "disk.raw does not hold the pattern" in done.stderr and "--fill" in done.stderr
