"""Power cuts: after any prefix of a writer's system calls the disk opens, and every flushed sector reads
right.

A writer runs under strace, which gives the true order of its system calls. Then the power is cut after each
of them: everything before the last fdatasync is on the disk, and of what came later all, nothing or any part,
in pieces of a sector. Between two fdatasyncs the kernel is free to write in any order, so must be the test.
"""

import json
import os
import random
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from goldherd.errors import ImageError
from goldherd.files.outliving import memory_folder
from goldherd_plugins.vhd import layout
from goldherd_plugins.vhd.create import create_differencing, create_dynamic
from goldherd_plugins.vhd.survey import survey

from tests.plugins.conftest import Opener, open_disk

SECTORS = 1500
SIZE = SECTORS * 512
BLOCK = 65536
WRITER = Path(__file__).with_name("powercut_writer.py")
CALL = re.compile(r"\d+ +(?P<name>\w+)\(\d+<(?P<path>[^>]*)>(?:, )?(?P<rest>.*)\) += (?P<result>-?\d+)")
PUNCH_HOLE = "FALLOC_FL_KEEP_SIZE|FALLOC_FL_PUNCH_HOLE"
Script = list[list[str | int]]


@dataclass(frozen=True)
class Event:
    """A system call on the disk: "write", "zero", "length", "sync"; or "flushed" when the writer said so."""

    what: str
    position: int = 0
    data: bytes = b""


@dataclass
class Trace:
    """What happened to one disk, and what its sectors must read as."""

    before: bytes
    events: list[Event]
    script: Script
    differencing: bool
    base: bytes
    """What the disk read as before the first operation."""
    allowed: dict[int, list[set[bytes]]] = field(init=False, default_factory=dict)
    """By number of the last flush (-1 for none): per sector, what it may hold until the next one."""

    def __post_init__(self) -> None:
        state = [self.base[at : at + 512] for at in range(0, SIZE, 512)]
        flushed = -1
        self.allowed[flushed] = [{sector} for sector in state]
        for number, (what, *where) in enumerate(self.script):
            if what == "flush":
                flushed = number
                self.allowed[flushed] = [{sector} for sector in state]
                continue
            first, count = where
            for sector in range(int(first), int(first) + int(count)):
                state[sector] = bytes(512) if what == "discard" else struct.pack(">II", number, sector) * 64
                self.allowed[flushed][sector].add(state[sector])


def operations(seed: int) -> Script:
    choose = random.Random(seed)
    script: Script = []
    for _ in range(50):
        first = choose.randrange(SECTORS)
        count = min(choose.choice((1, 1, 2, 8, 40, 200)), SECTORS - first)
        script.append([choose.choices(("write", "discard"), (5, 1))[0], first, count])
        if choose.random() < 0.25:
            script.append(["flush"])
    return [*script, ["flush"]]


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def events_of(log: Path, disk: Path) -> Iterator[Event]:
    for line in log.read_text().splitlines():
        match = CALL.match(line)
        if match is None:
            continue
        name, path, rest = match["name"], Path(os.fsdecode(unhex(match["path"]))), match["rest"]
        if path == Path("/dev/null"):
            yield Event("flushed", int(unhex(rest.split('"')[1]).split()[1]))
            continue
        if path.parent == memory_folder():
            continue  # a power cut takes it away
        if path != disk:
            assert name == "write", f"the writer changed {path}: {line}"
            continue
        assert int(match["result"]) >= 0, line
        if name == "pwrite64":
            _, data, numbers = rest.split('"')
            yield Event("write", int(numbers.split(", ")[2]), unhex(data))
        elif name == "fallocate":
            mode, position, length = rest.split(", ")
            assert mode == PUNCH_HOLE
            yield Event("zero", int(position), bytes(int(length)))
        elif name == "ftruncate":
            yield Event("length", int(rest))
        else:
            assert name in ("fdatasync", "fsync"), line
            yield Event("sync")


@pytest.fixture(params=["dynamic", "differencing"])
def trace(request: pytest.FixtureRequest, tmp_path: Path) -> Trace:
    disk = tmp_path / "disk.vhd"
    if request.param == "dynamic":
        create_dynamic(disk, SIZE, BLOCK)
    else:
        create_dynamic(tmp_path / "parent.vhd", SIZE)
        image = open_disk(f"vhd:{tmp_path / 'parent.vhd'}", "rw")
        image.write(0, memoryview(b"".join(b"parent%10d" % at * 32 for at in range(SECTORS - 100))))
        image.close()
        create_differencing(disk, tmp_path / "parent.vhd", block_bytes=BLOCK)
    before = disk.read_bytes()
    base = read_all(disk, "r")
    script = operations(seed=7)
    (tmp_path / "script").write_text(json.dumps(script))
    log = tmp_path / "calls"
    calls = "trace=write,pwrite64,pwritev,ftruncate,fallocate,fdatasync,fsync"
    strace = ("strace", "-f", "-y", "-xx", "-s", "1000000", "-e", calls)
    subprocess.run(
        [*strace, "-o", log, sys.executable, WRITER, disk, tmp_path / "script"],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return Trace(before, list(events_of(log, disk)), script, request.param == "differencing", base)


def read_all(disk: Path, mode: str) -> bytes:
    opener = Opener()
    image = open_disk(f"vhd:{disk}", mode, opener)
    data = image.read(0, SIZE)
    image.close()
    opener.close()
    return data


def apply(content: bytearray, event: Event) -> None:
    if event.what == "length":
        del content[event.position :]
        content.extend(bytes(event.position - len(content)))
    elif event.what == "write":
        content.extend(bytes(max(0, event.position + len(event.data) - len(content))))
        content[event.position : event.position + len(event.data)] = event.data
    elif event.what == "zero":
        part = content[event.position : event.position + len(event.data)]
        content[event.position : event.position + len(part)] = bytes(len(part))


def pieces(event: Event) -> Iterator[Event]:
    """What of a system call the disk may have or not have: each sector for itself."""
    if event.what not in ("write", "zero"):
        yield event
        return
    for at in range(0, len(event.data), 512):
        yield Event(event.what, event.position + at, event.data[at : at + 512])


def cuts(trace: Trace, seed: int) -> Iterator[tuple[int, bytearray]]:
    """(the last flush that had returned, the content of the file after the cut), for every instant."""
    choose = random.Random(seed)
    durable = bytearray(trace.before)
    pending: list[Event] = []
    flushed = -1
    for event in trace.events:
        if event.what == "flushed":
            flushed = event.position
        elif event.what == "sync":
            for one in pending:
                apply(durable, one)
            pending.clear()
        else:
            pending.append(event)
        parts = [part for one in pending for part in pieces(one)]
        for share in (1.0, 0.0, 0.5, 0.9):
            content = bytearray(durable)
            for part in parts:
                if choose.random() < share:
                    apply(content, part)
            yield flushed, content


def bitmaps_are_ones(disk: Path) -> bool:
    """Whether every block that the table of a dynamic disk knows has all its bits set, for other programs."""
    with disk.open("rb") as file:
        found = survey(file.fileno(), str(disk))
        assert found.bat is not None
        for slot in found.bat[found.bat != layout.UNUSED_BLOCK].tolist():
            file.seek(slot * 512)
            if file.read(512) != b"\xff" * 512:
                return False
    return True


def broken_promises(data: bytes, allowed: list[set[bytes]]) -> list[int]:
    return [sector for sector in range(SECTORS) if data[sector * 512 : sector * 512 + 512] not in allowed[sector]]


@pytest.mark.interop
def test_every_cut_leaves_a_disk_that_opens_with_all_flushed_data(trace: Trace, tmp_path: Path) -> None:
    disk = tmp_path / "cut.vhd"
    checked = 0
    for flushed, content in cuts(trace, seed=1):
        disk.write_bytes(content)
        assert broken_promises(read_all(disk, "r"), trace.allowed[flushed]) == []
        assert disk.read_bytes() == content
        assert trace.differencing or bitmaps_are_ones(disk)
        checked += 1
    assert checked > 400


@pytest.mark.interop
def test_every_cut_leaves_a_disk_that_can_be_written_again(trace: Trace, tmp_path: Path) -> None:
    disk = tmp_path / "cut.vhd"
    for flushed, content in list(cuts(trace, seed=2))[::7]:
        disk.write_bytes(content)
        opener = Opener()
        image = open_disk(f"vhd:{disk}", "rw", opener)
        before = image.read(0, SIZE)
        assert broken_promises(before, trace.allowed[flushed]) == []
        expected = bytearray(before)
        for sector in range(3, SECTORS, 97):
            image.write(sector * 512, memoryview(b"again!!!" * 64))
            expected[sector * 512 : sector * 512 + 512] = b"again!!!" * 64
        image.close()
        opener.close()
        assert read_all(disk, "r") == expected


@pytest.mark.interop
def test_without_the_first_sync_of_a_flush_the_check_would_fail(trace: Trace, tmp_path: Path) -> None:
    """A test of this test: the order matters, and a writer that neglected it would be caught."""
    events = trace.events
    careless = [
        event
        for event, following in zip(events, [*events[1:], Event("end")], strict=True)
        if event.what != "sync" or following.what == "flushed"
    ]
    disk = tmp_path / "cut.vhd"
    wrong = 0
    for flushed, content in cuts(replace(trace, events=careless), seed=3):
        disk.write_bytes(content)
        try:
            wrong += bool(broken_promises(read_all(disk, "r"), trace.allowed[flushed]))
        except ImageError:
            wrong += 1
    assert wrong > 0
