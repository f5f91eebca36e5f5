"""Idle for hours: many sessions that ask for nothing beside a few that work; none may be lost, and memory stays flat.

    python -m bench.soak                            an hour, 1,000 idle sessions, 16 busy ones
    python -m bench.soak --hours 0.1 --idle 200

One idle session in four is a boot loader that waits in its menu: it answers no ping, as iPXE doesn't. The busy ones
write, flush, read and compare at a limited rate, so that the machine can be used meanwhile. At the end each session
that was idle reads from its disk, which shows that the target still knows it.
"""

import argparse
import itertools
import selectors
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.accounting import status_bytes
from bench.apart import apart
from bench.initiator import DATA_IN, IMMEDIATE, NOP_IN, SCSI_COMMAND, SCSI_RESPONSE, Session, log_in
from bench.pattern import words, write_pattern
from tests.support.targets import GoldherdHerd

KIB, MIB = 1 << 10, 1 << 20
BLOCK_BYTES = 4 * KIB
GOLDEN_BYTES = 16 * MIB
LOADER_ISID = bytes.fromhex("40002723")
"""How the ISIDs of iPXE begin."""
LOADERS_ONE_IN = 4
NOP_OUT, NO_TAG = 0x00, 0xFFFFFFFF
ANSWER_SECONDS_MAX = 60.0
"""A command without an answer for so long counts as a lost session."""
WARM_SHARE, WARM_SECONDS = 0.05, 60.0
"""Of the time, before memory is compared; in a short soak half of it, or so many seconds. Buffers and caches have their
size by then."""
GROWTH_MAX = 4 * MIB
"""Most that resident memory may grow after that, whatever the time."""


@dataclass(eq=False)
class Peer:
    """One session of the soak, driven without waiting."""

    session: Session
    loader: bool
    busy: bool
    plan: Iterator[tuple[bytes, bytes, bytes]]
    """What a busy one does next: command block, data to write, data to find."""
    received: bytearray = field(default_factory=bytearray)
    found: bytearray = field(default_factory=bytearray)
    expected: bytes = b""
    sent_at: float | None = None
    """When the command under way was sent."""
    pings: int = 0
    lost: str = ""
    """How the session ended before its time."""
    commands: int = 0

    def start(self, cdb: bytes, data: bytes, expected: bytes, now: float) -> None:
        """Sends one command; a write's data comes with it."""
        session = self.session
        length = len(data) or len(expected)
        flags = 0xA1 if data else 0xC1 if expected else 0x81
        tag = struct.pack(">IIII", self.commands & 0x7FFFFFFF, length, session.cmd_sn, session.exp_stat_sn)
        session.cmd_sn = (session.cmd_sn + 1) & 0xFFFFFFFF
        self.expected, self.sent_at = expected, now
        self.found.clear()
        session.send(SCSI_COMMAND, flags, struct.pack(">H6x", session.lun), tag + cdb.ljust(16, b"\0"), data)

    def take(self) -> None:
        """Works off what has come; `lost` says when that was the end."""
        try:
            came = self.session.socket.recv(65536)
        except OSError as failure:
            self.lost = str(failure)
            return
        if not came:
            self.lost = "the target closed the connection"
            return
        self.received += came
        while len(self.received) >= 48:
            length = int.from_bytes(self.received[5:8])
            whole = 48 + length + -length % 4
            if len(self.received) < whole:
                return
            header, data = bytes(self.received[:48]), bytes(self.received[48 : 48 + length])
            del self.received[:whole]
            self._act(header, data)

    def _act(self, header: bytes, data: bytes) -> None:
        session, opcode = self.session, header[0] & 0x3F
        if opcode == NOP_IN:
            self._answer(header)
            return
        if opcode == DATA_IN:
            self.found += data
        if opcode == SCSI_RESPONSE or (opcode == DATA_IN and header[1] & 1):
            session.exp_stat_sn = (int.from_bytes(header[24:28]) + 1) & 0xFFFFFFFF
            self.sent_at = None
            self.commands += 1
            if header[3]:
                self.lost = f"a command ended with status {header[3]:#x}"
            elif self.expected and self.found != self.expected:
                self.lost = "a read gave other data than were there"

    def _answer(self, header: bytes) -> None:
        tag = header[20:24]
        if int.from_bytes(tag) == NO_TAG:
            return
        self.pings += 1
        if not self.loader:
            numbers = struct.pack(">I4sII", NO_TAG, tag, self.session.cmd_sn, self.session.exp_stat_sn)
            self.session.send(NOP_OUT | IMMEDIATE, 0x80, header[8:16], numbers)


@dataclass(frozen=True)
class Seen:
    """What a soak has shown."""

    seconds: float
    idle: int
    busy: int
    lost: tuple[str, ...]
    """A sentence for each session that ended."""
    pings: int
    commands: int
    start_bytes: int
    """Resident memory when all had logged in and the busy ones had worked for a while."""
    end_bytes: int

    @property
    def complaints(self) -> list[str]:
        """What is not as promised, in words."""
        found = [f"a session was lost: {sentence}" for sentence in self.lost]
        if self.end_bytes - self.start_bytes > GROWTH_MAX:
            found.append(f"memory grew by {(self.end_bytes - self.start_bytes) / MIB:.1f} MiB")
        return found

    def __str__(self) -> str:
        return "\n".join(
            (
                f"{self.idle} idle sessions and {self.busy} busy ones for {self.seconds / 3600:.2f} hours",
                f"sessions lost: {len(self.lost)}",
                f"pings seen: {self.pings}; commands of the busy ones, each checked: {self.commands}",
                f"resident memory at the start: {self.start_bytes / MIB:.1f} MiB, at the end:"
                f" {self.end_bytes / MIB:.1f} MiB",
            )
        )


def work(number: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """What a busy session does: writes a block, reads it, reads one of the golden disk; now and then a flush."""
    blocks = BLOCK_BYTES // 512
    for turn in itertools.count():
        own = 8 * (turn % 512)
        data = struct.pack(">Q", turn * 1009 + number) * (BLOCK_BYTES // 8)
        yield struct.pack(">BBIBH", 0x2A, 0, own, 0, blocks), data, b""
        yield struct.pack(">BBIBH", 0x28, 0, own, 0, blocks), b"", data
        far = 8192 + 8 * (turn * 37 % 256)
        yield struct.pack(">BBIBH", 0x28, 0, far, 0, blocks), b"", words(far * 512, BLOCK_BYTES)
        if turn % 16 == 15:
            yield b"\x35", b"", b""


class Soak:
    """Sessions on a served herd, and the loop that keeps them.

    Args:
        herd: serves nodes pc-1 and on.
        idle: sessions that ask for nothing.
        busy: sessions that work.
        rate: commands per second of each busy one.
    """

    def __init__(self, herd: GoldherdHerd, idle: int, busy: int, rate: float) -> None:
        self._herd, self._rate = herd, rate
        self._selector = selectors.DefaultSelector()
        self.peers = [self._begin(number, number > idle) for number in range(1, idle + busy + 1)]

    def _begin(self, number: int, busy: bool) -> Peer:
        herd, node = self._herd, f"pc-{number}"
        loader = not busy and number % LOADERS_ONE_IN == 0
        isid = LOADER_ISID + (number % 65536).to_bytes(2) if loader else b""
        session = log_in(herd.portal.host, herd.portal.port, herd.iqn(node), herd.lun, herd.initiator(node), isid)
        peer = Peer(session, loader, busy, work(number))
        self._selector.register(session.socket, selectors.EVENT_READ, peer)
        return peer

    def _take(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            peer: Peer = key.data
            peer.take()
            if peer.lost:
                self._selector.unregister(peer.session.socket)

    def run(self, seconds: float, report_seconds: float) -> tuple[int, int]:
        """Keeps them for so long; resident memory after the warm-up and at the end."""
        begun = time.monotonic()
        end, report = begun + seconds, begun + report_seconds
        warm = begun + max(WARM_SHARE * seconds, min(WARM_SECONDS, seconds / 2))
        busy = [peer for peer in self.peers if peer.busy]
        due = begun
        start_bytes = 0
        while (now := time.monotonic()) < end:
            if not start_bytes and now >= warm:
                start_bytes = status_bytes(self._herd.pid, "VmRSS")
            if now >= report:
                report += report_seconds
                self._tell(now - begun)
            if now >= due:
                due = max(due + 1 / self._rate, now)
                for peer in busy:
                    self._go_on(peer, now)
            self._take(max(0.0, min(due, end) - time.monotonic()) if busy else 0.2)
        return start_bytes or status_bytes(self._herd.pid, "VmRSS"), status_bytes(self._herd.pid, "VmRSS")

    def _go_on(self, peer: Peer, now: float) -> None:
        if peer.lost:
            return
        if peer.sent_at is None:
            peer.start(*next(peer.plan), now)
        elif now - peer.sent_at > ANSWER_SECONDS_MAX:
            peer.lost = f"a command had no answer for {ANSWER_SECONDS_MAX:g} s"

    def _tell(self, seconds: float) -> None:
        resident = status_bytes(self._herd.pid, "VmRSS") / MIB
        lost = sum(bool(peer.lost) for peer in self.peers)
        print(f"after {seconds / 60:.0f} min: {lost} sessions lost, {resident:.1f} MiB resident", flush=True)

    def prove(self) -> None:
        """Every session reads a block: the target still knows it."""
        asked = [peer for peer in self.peers if not peer.lost]
        for peer in asked:
            far = 8192
            if peer.sent_at is None:
                read = struct.pack(">BBIBH", 0x28, 0, far, 0, BLOCK_BYTES // 512)
                peer.start(read, b"", words(far * 512, BLOCK_BYTES), time.monotonic())
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while time.monotonic() < deadline and any(peer.sent_at is not None and not peer.lost for peer in asked):
            self._take(0.2)
        for peer in asked:
            if peer.sent_at is not None and not peer.lost:
                peer.lost = "the last read had no answer"

    def end(self) -> None:
        """Drops the connections."""
        for peer in self.peers:
            peer.session.socket.close()
        self._selector.close()


def soak(folder: Path, options: argparse.Namespace) -> Seen:
    """Makes the herd in `folder`, serves it, and keeps its sessions."""
    count, seconds = options.idle + options.busy, options.hours * 3600
    golden = write_pattern(folder / "golden.raw", GOLDEN_BYTES)
    with GoldherdHerd(golden, f"pc-[1-{count}]", folder) as herd:
        herd.serve()
        kept = Soak(herd, options.idle, options.busy, options.rate)
        start_bytes, end_bytes = kept.run(seconds, options.report_minutes * 60)
        kept.prove()
        lost = tuple(f"pc-{number}: {peer.lost}" for number, peer in enumerate(kept.peers, 1) if peer.lost)
        pings, commands = sum(peer.pings for peer in kept.peers), sum(peer.commands for peer in kept.peers if peer.busy)
        kept.end()
    return Seen(seconds, options.idle, options.busy, lost, pings, commands, start_bytes, end_bytes)


def main(words_: list[str]) -> int:
    """One soak; 1 when something is not as promised."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="Sessions that are idle for hours.")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--idle", type=int, default=1000, help="sessions that ask for nothing")
    parser.add_argument("--busy", type=int, default=16, help="sessions that work")
    parser.add_argument("--rate", type=float, default=10.0, help="commands per second of each busy session")
    parser.add_argument("--report-minutes", type=float, default=5.0)
    options = parser.parse_args(words_)
    with tempfile.TemporaryDirectory(prefix="goldherd-soak-") as folder:
        seen = soak(Path(folder), options)
    print(seen)
    for complaint in seen.complaints:
        print(f"not as promised: {complaint}")
    return int(bool(seen.complaints))


if __name__ == "__main__":
    sys.exit(apart(main, sys.argv[1:]))
