"""Errors of a real kernel: ext4 on a loop device over a file whose own file system is full, as a thin pool can be.

write() succeeds, and writing back fails later. Everything lies in a mount namespace of its own and is gone with it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.rooms import ROOT

ALONE = ("unshare", "--mount", "--propagation", "private")
MAKE = """
set -e
mkdir thin disk
mount -t tmpfs -o size=24m thin thin
truncate -s 200M thin/store
mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 -J size=4 thin/store
mount -o loop thin/store disk
"$@"
"""
PROGRAM = """
import json, os, subprocess, sys
from pathlib import Path
import structlog
from tests.plugins.conftest import Disk
from goldherd.errors import GoldherdError
from goldherd.files.failed import find_mark

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
kind, scenario, other = sys.argv[1:]
MIB = 1 << 20
sick, well = Disk(Path("disk").absolute(), kind, 100 * MIB), Disk(Path(other), kind, 16 * MIB)
answers = []

def attempt(work):
    try:
        work()
    except GoldherdError as error:
        return type(error).__name__ + ": " + str(error)
    return "good"

def fill(image):
    image.write(0, memoryview(b"a" * MIB))
    image.flush()
    for number in range(1, 60):
        image.write(number * MIB, memoryview(bytes([number]) * MIB))

if scenario == "flush":
    image = sick.open()
    fill(image)
else:
    child = os.fork()
    if not child:
        fill(sick.open())
        os._exit(9)         # as by kill -9: nothing is flushed, and the kernel writes back by itself
    os.waitpid(child, 0)
    subprocess.run(["sync", "-f", "disk"], stderr=subprocess.DEVNULL)
    image = sick.open()
    answers.append("known at open" if image.sync_failure else "not known at open")
answers += [attempt(image.synchronize) for _ in range(3)]
answers.append(attempt(lambda: image.write(0, memoryview(bytes(512)))))
fine = well.open()
fine.write(0, memoryview(b"w" * MIB))
answers += [attempt(fine.synchronize), attempt(fine.close)]
print(json.dumps(answers))
attempt(image.close)
"""


def run(kind: str, scenario: str, folder: Path) -> Any:
    other = folder / "well"
    other.mkdir()
    ended = subprocess.run(
        [*ALONE, "sh", "-c", MAKE, "sh", sys.executable, "-c", PROGRAM, kind, scenario, str(other)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.interop
@pytest.mark.parametrize("kind", ["sparse", "dynamic", "differencing"])
def test_a_flush_fails_for_ever_when_the_thin_disk_below_was_full(kind: str, tmp_path: Path) -> None:
    *flushes, write, other, closing = run(kind, "flush", tmp_path)
    assert len(flushes) == 3 and all("has failed" in answer for answer in flushes), flushes
    assert "Read-only" in write
    assert (other, closing) == ("good", "good")


@pytest.mark.interop
@pytest.mark.parametrize("kind", ["sparse", "dynamic", "differencing"])
def test_what_a_killed_daemon_left_unwritten_is_known_at_the_next_open(kind: str, tmp_path: Path) -> None:
    known, *flushes, write, other, closing = run(kind, "killed", tmp_path)
    assert known == "known at open"
    assert all("has failed" in answer for answer in flushes), flushes
    assert "Read-only" in write
    assert (other, closing) == ("good", "good")
