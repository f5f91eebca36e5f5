"""A second opinion on every byte we send: Wireshark's dissectors, over the traffic of the conformance suite."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.conformance import run
from tests.support.process import Process
from tests.support.targets import GoldherdExport

FAMILIES: Final = (
    "Inquiry",
    "Read10",
    "Write10",
    "ReadCapacity16",
    "ModeSense6",
    "ReportSupportedOpcodes",
    "ProutReserve",
    "PrinReportCapabilities",
    "CompareAndWrite",
    "iSCSIResiduals",
    "iSCSITMF",
    "Unmap",
    "GetLBAStatus",
)
DISK_BYTES: Final = 64 << 20
ALLOCATION: Final = {0x12: (3, 2), 0x9E: (10, 4)}
"""ALLOCATION LENGTH of INQUIRY and READ CAPACITY(16): (offset in the command block, bytes)."""
ERROR: Final = 0x00800000
"""PI_ERROR of Wireshark's expert information."""
BUFFER_MIB: Final = 256


class Capture:
    """What goes over the loopback interface to and from one port, dissected afterwards."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.file = folder / "capture.pcapng"
        command = (
            "tshark", "-i", "lo", "-f", f"tcp port {port}", "-B", str(BUFFER_MIB), "-w", self.file, "-q",
        )  # fmt: skip
        self._log = folder / "tshark.log"
        self._process = Process(command, self._log)
        self._wait_for("Capture started")

    def _wait_for(self, words: str) -> None:
        """tshark says on standard error when it has begun."""
        follow = subprocess.run(
            ["timeout", "30", "sh", "-c", f"until grep -q '{words}' '{self._log}'; do sleep 0.05; done"], check=False
        )
        if follow.returncode or not self._process.running:
            self._process.stop()
            pytest.fail(f"tshark can't capture on the loopback interface (root is needed): {self._process.words()}")

    def stop(self) -> None:
        """Ends it; all packets are in the file."""
        self._process.stop()

    def fields(self, condition: str, *names: str) -> list[list[str]]:
        """The fields of the packets that a display filter selects."""
        columns = [word for name in names for word in ("-e", name)]
        reading = ("tshark", "-r", self.file, "-d", f"tcp.port=={self.port},iscsi")
        done = subprocess.run(
            [*reading, "-Y", condition, "-T", "fields", *columns],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    """The traffic of these families, and of a write that needs R2Ts, against a thin disk of ours."""
    folder = tmp_path_factory.mktemp("tshark")
    disk = folder / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    with GoldherdExport([disk], folder) as export:
        capture = Capture(export.portal.port, folder)
        try:
            for family in FAMILIES:
                run.main([export.url(), "--only", family])
            subprocess.run(["qemu-io", "-f", "raw", "-c", "write 0 8M", export.url()], check=True, timeout=60)
        finally:
            capture.stop()
    yield capture


def ours(capture: Capture) -> str:
    """The filter of what the target sent."""
    return f"iscsi && tcp.srcport == {capture.port}"


@pytest.mark.interop
def test_every_kind_of_pdu_was_captured(capture: Capture) -> None:
    """Or the silence of the dissectors would say nothing."""
    opcodes = {
        int(opcode, 16)
        for row in capture.fields(ours(capture), "iscsi.opcode")
        for opcode in row[0].split(",")
        if opcode
    }
    assert {0x21, 0x22, 0x23, 0x25, 0x26, 0x31} <= opcodes


def complaints(capture: Capture, condition: str) -> list[list[str]]:
    """Packets of ours that a display filter selects, without the answers that the client itself had cut.

    Wireshark 4.0 reads INQUIRY and READ CAPACITY(16) data to its end although the allocation length ended it
    before, and calls that malformed; SPC-4 4.2.5.6 wants it cut. Such a packet holds one Data-In of exactly
    the allocation length.
    """
    commands = {
        (stream, tag): bytes.fromhex(payload)[32:48]
        for stream, tag, payload in capture.fields(
            f"iscsi.opcode == 1 && tcp.dstport == {capture.port}", "tcp.stream", "iscsi.initiatortasktag", "tcp.payload"
        )
    }
    found = capture.fields(
        f"{ours(capture)} && {condition}",
        "tcp.stream",
        "iscsi.initiatortasktag",
        "iscsi.datasegmentlength",
        "frame.number",
        "_ws.col.Info",
    )
    return [row for row in found if not cut_as_asked(commands.get((row[0], row[1])), row[2])]


def cut_as_asked(cdb: bytes | None, length: str) -> bool:
    """Whether an answer of so many bytes is one that the allocation length of its command ended."""
    if cdb is None or cdb[0] not in ALLOCATION:
        return False
    at, size = ALLOCATION[cdb[0]]
    return int(length) == int.from_bytes(cdb[at : at + size], "big")


@pytest.mark.interop
def test_no_pdu_of_ours_is_malformed_or_an_expert_error(capture: Capture) -> None:
    assert complaints(capture, f"(_ws.malformed || _ws.expert.severity == {ERROR})") == []
