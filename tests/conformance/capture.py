"""A second opinion on every byte we send: Wireshark's dissectors over what the conformance suite makes us say.

One capture per family of tests, thrown away when it is dissected, which is done beside the next families. A family that
moves much data is captured at one unit: the PDUs of the others are alike, and a GiB of them takes a minute to dissect.
With GOLDHERD_TEST_CAPTURE=all every unit is captured always; that is some 20 GiB.
"""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.process import Process

ALLOCATION: Final = {0x12: (3, 2), 0x5E: (7, 2), 0x9E: (10, 4)}
"""ALLOCATION LENGTH of INQUIRY, PERSISTENT RESERVE IN and READ CAPACITY(16): (offset in the command block, bytes)."""
ERROR: Final = 0x00800000
"""PI_ERROR of Wireshark's expert information."""
BUFFER_MIB: Final = 256
HANDED_OVER_SECONDS: Final = 0.6
"""The kernel keeps packets back for a while, to hand over many at once; whoever ends before loses them."""
MUCH_DATA: Final = ("Compare", "Multipath", "OrWrite", "Prefetch", "Read6", "Read1", "Unmap", "Verify", "Write")
"""How the names of families begin that move much data."""
_TASK: Final = ("tcp.stream", "iscsi.initiatortasktag")
_ABOUT: Final = ("iscsi.datasegmentlength", "frame.number", "_ws.col.Info")


@dataclass
class WholeRun:
    """One run of the whole suite, and what Wireshark said of our part in it."""

    code: int = -1
    table: str = ""
    opcodes: set[int] = field(default_factory=set)
    """Of the PDUs that we sent."""
    complaints: list[str] = field(default_factory=list)


class Capture:
    """What goes over the loopback interface to and from some ports, dissected afterwards."""

    def __init__(self, ports: Sequence[int], folder: Path) -> None:
        self.ports = ports
        self.file = folder / "capture.pcapng"
        log = folder / "tshark.log"
        log.unlink(missing_ok=True)
        condition = " or ".join(f"tcp port {port}" for port in ports)
        command = ("tshark", "-i", "lo", "-f", condition, "-B", str(BUFFER_MIB), "-w", self.file, "-q")
        self._process = Process(command, log)
        begun = ["timeout", "30", "sh", "-c", f"until grep -q 'Capture started' '{log}'; do sleep 0.05; done"]
        if subprocess.run(begun, check=False).returncode or not self._process.running:
            self._process.stop()
            words = self._process.words()
            raise RuntimeError(f"tshark can't capture on the loopback interface (root is needed): {words}")

    def stop(self) -> None:
        """Ends it; all packets are in the file."""
        time.sleep(HANDED_OVER_SECONDS)
        self._process.stop()

    @property
    def ours(self) -> str:
        """The filter of what the targets sent."""
        return f"iscsi && tcp.srcport in {{{', '.join(map(str, self.ports))}}}"

    def fields(self, condition: str, *names: str) -> list[list[str]]:
        """The fields of the packets that a display filter selects."""
        columns = [word for name in names for word in ("-e", name)]
        decoded = [word for port in self.ports for word in ("-d", f"tcp.port=={port},iscsi")]
        done = subprocess.run(
            ["tshark", "-r", self.file, *decoded, "-Y", condition, "-T", "fields", *columns],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        return [line.split("\t") for line in done.stdout.splitlines()]

    def verdict(self) -> tuple[set[int], list[list[str]]]:
        """The opcodes that the targets sent, and the packets of theirs that Wireshark objects to.

        Wireshark 4.0 reads some answers to their end although the allocation length ended them before, and calls that
        malformed; SPC-4 4.2.5.6 wants them cut. Such a packet holds one Data-In of exactly the allocation length.
        """
        sent = self.fields(self.ours, "iscsi.opcode", "_ws.malformed", "_ws.expert.severity", *_TASK, *_ABOUT)
        opcodes = {int(opcode, 16) for row in sent for opcode in row[0].split(",") if opcode}
        found = [row[3:] for row in sent if row[1] or str(ERROR) in row[2].split(",")]
        if not found:
            return opcodes, []
        commands = {
            (stream, tag): bytes.fromhex(payload)[32:48]
            for stream, tag, payload in self.fields("iscsi.opcode == 1", *_TASK, "tcp.payload")
        }
        return opcodes, [row for row in found if not cut_as_asked(commands.get((row[0], row[1])), row[2])]


def cut_as_asked(cdb: bytes | None, length: str) -> bool:
    """Whether an answer of so many bytes is one that the allocation length of its command ended."""
    if cdb is None or cdb[0] not in ALLOCATION:
        return False
    at, size = ALLOCATION[cdb[0]]
    return int(length) == int.from_bytes(cdb[at : at + size], "big")


@dataclass
class Judge:
    """Captures families of tests, and adds up what Wireshark says of them.

    Args:
        ports: of the targets; the first is captured always.
        folder: for the captures.
        beside: dissects them.
    """

    ports: Sequence[int]
    folder: Path
    beside: Executor
    _verdicts: list[tuple[str, Future[tuple[set[int], list[list[str]]]]]] = field(default_factory=list)

    @contextmanager
    def around(self, family: str) -> Iterator[None]:
        """Captures what happens meanwhile."""
        place = self.folder / family
        place.mkdir()
        capture = Capture(self.watched(family), place)
        try:
            yield
        finally:
            capture.stop()
        self._verdicts.append((family, self.beside.submit(self._judge, capture)))

    def watched(self, family: str) -> Sequence[int]:
        """The ports at which a family is captured."""
        everywhere = not family.startswith(MUCH_DATA) or os.environ.get("GOLDHERD_TEST_CAPTURE") == "all"
        return self.ports if everywhere else self.ports[:1]

    @staticmethod
    def _judge(capture: Capture) -> tuple[set[int], list[list[str]]]:
        verdict = capture.verdict()
        capture.file.unlink()
        return verdict

    def add_to(self, run: WholeRun) -> None:
        """Waits for all dissections and notes them; raises what failed in one of them."""
        for family, verdict in self._verdicts:
            opcodes, complaints = verdict.result()
            run.opcodes |= opcodes
            run.complaints += [f"{family}: {' '.join(row)}" for row in complaints]
