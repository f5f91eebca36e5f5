"""Random work on a disk over iSCSI, whose record is kept: writes, writes with FUA, UNMAP, flushes, several at once."""

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.faults.record import DiskRecord
from tests.target.initiator import ConnectionEndedError, Session

LENGTHS = (1, 1, 2, 3, 7, 8, 8, 16, 64, 100, 256, 600)
IMMEDIATE_BYTES = 8192
READ_SECTORS = 512
FUA = 0x08


@dataclass
class Disk:
    """One disk of the test: where it is found, and what it may hold."""

    record: DiskRecord
    place: str
    """The name of a node, or of the target of an export."""
    lun: int
    format: str


@dataclass
class Worker:
    """Work on one disk through one session; after the first failed command it does no more."""

    disk: Disk
    session: Session
    choose: random.Random
    failed: bool = False
    _waiting: dict[int, tuple[bytes, Callable[[], None]]] = field(default_factory=dict)
    """By task tag: the data of the command, and what a GOOD answer means."""

    def send_batch(self) -> None:
        """Sends some commands whose sectors do not overlap, so that every order of them has one outcome."""
        taken: list[range] = []
        try:
            for _ in range(self.choose.randint(1, 6)):
                kind = self.choose.choices(("write", "fua", "unmap", "flush"), (12, 2, 2, 3))[0]
                if kind == "flush":
                    self._send_flush()
                else:
                    self._send_change(kind, taken)
        except OSError:
            self.failed = True

    def finish_batch(self) -> None:
        """Takes the answers of the batch; a connection that ends leaves the rest unanswered."""
        try:
            while self._waiting:
                self._take_one()
        except (ConnectionEndedError, OSError):
            self.failed = True
        self._waiting.clear()

    def _send_flush(self) -> None:
        covered = self.disk.record.flush_begins()
        self._start(b"\x35", b"", lambda: self.disk.record.flushed(covered))

    def _send_change(self, kind: str, taken: list[range]) -> None:
        record = self.disk.record
        count = min(self.choose.choice(LENGTHS), record.sectors)
        first = self.choose.randrange(record.sectors - count + 1)
        wanted = range(first, first + count)
        if any(one.start < wanted.stop and wanted.start < one.stop for one in taken):
            return
        taken.append(wanted)
        command, data = record.begin(first, count, zeros=kind == "unmap", stable=kind == "fua")
        if kind == "unmap":
            cdb, data = struct.pack(">BB4xBHB", 0x42, 0, 0, 24, 0), struct.pack(">HH4xQI4x", 22, 16, first, count)
        else:
            cdb = struct.pack(">BBIBH", 0x2A, FUA if kind == "fua" else 0, first, 0, count)
        self._start(cdb, data, lambda: record.answered(command))

    def _start(self, cdb: bytes, data: bytes, good: Callable[[], None]) -> None:
        itt = self.session.start(cdb, write=data, immediate=min(len(data), IMMEDIATE_BYTES), lun=self.disk.lun)
        self._waiting[itt] = data, good

    def _take_one(self) -> None:
        pdu = self.session.take()
        data, good = self._waiting[pdu.itt]
        if pdu.opcode == 0x31:
            self.session._data_out(pdu, data)
            return
        assert pdu.opcode == 0x21, f"opcode {pdu.opcode:#x} in answer to a command"
        del self._waiting[pdu.itt]
        if pdu.header[3] == 0:
            good()
        else:
            self.failed = True


def read_disk(session: Session, disk: Disk) -> bytes:
    """The whole disk as an initiator reads it."""
    sectors = disk.record.sectors
    parts = [session.read(at, min(READ_SECTORS, sectors - at), disk.lun) for at in range(0, sectors, READ_SECTORS)]
    return b"".join(parts)


def do_batch(workers: Sequence[Worker]) -> None:
    """One batch of every worker that has not failed, all of them under way at the same time."""
    able = [worker for worker in workers if not worker.failed]
    for worker in able:
        worker.send_batch()
    for worker in able:
        worker.finish_batch()
