"""What a program of fuzz_framing runs between: disks on one side, on the other the far ends of connections."""

import os
import tempfile
import time
from functools import cache
from types import SimpleNamespace
from typing import Final

from goldherd.block.file import FileImage
from goldherd.block.golden import GoldenCache
from goldherd.block.image import Image
from goldherd.block.memory import MemoryImage
from goldherd.limits import GRANULE_BYTES
from goldherd.scsi.fastpath.unit import HotUnit
from goldherd.wire.opcodes import Opcode

from tests.session.initiator import NO_TAG, Initiator, Pdu

DISK_BYTES: Final = 1 << 20
SLOW: Final = 4
"""The LUN whose commands all go to the control plane, which may let reads proceed."""
CDB_BYTES: Final = 16
SESSION: Final = 7
ROOM_BYTES_MAX: Final = 2 << 20
"""What a far end takes at once, so that no program takes long."""
FILLING: Final = bytes(range(1, 252)) * 1100
"""Data segments: what is in them means nothing to the data plane."""
FROM_TARGETS: Final = frozenset(opcode for opcode in Opcode if opcode >= 0x20) - {Opcode.LOGIN_RESPONSE}


@cache
def images() -> tuple[Image, ...]:
    """One disk of each kind, the same for all programs: a mapped file, one behind Python, a golden one.

    Everything is in memory before the first program runs, so that none depends on a fetch that comes in time or not.
    """
    made: list[FileImage] = []
    for read_only in (False, True):
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
        os.pwrite(fd, FILLING[:1024] * (DISK_BYTES // 1024), 0)
        made.append(FileImage(fd, DISK_BYTES, read_only=read_only, path="fuzz"))
    golden = GoldenCache(4 * DISK_BYTES).adopt(made.pop())
    for image in (*made, golden):
        while any(image.plan_of(at, GRANULE_BYTES) == "cold" for at in range(0, DISK_BYTES, GRANULE_BYTES)):
            time.sleep(0.001)
    return made[0], MemoryImage(DISK_BYTES), golden


def units() -> list[HotUnit]:
    """By LUN: one on each disk, one with long blocks, and one whose commands all go to the control plane."""
    made = [*(HotUnit(image) for image in images()), HotUnit(images()[0], 4096), HotUnit(images()[0])]
    mask = b"\xff\xff\xff\0\0".ljust(CDB_BYTES, b"\xff")
    inquiry = SimpleNamespace(
        cdb=b"\x12".ljust(CDB_BYTES, b"\0"), mask=mask, answer=bytes(96), allocation_at=3, allocation_bytes=2
    )
    made[0].publish([inquiry])
    return made


class End(Initiator):
    """An initiator's end of a connection, which takes nothing that RFC 7143 does not allow a target to send."""

    room = ROOM_BYTES_MAX
    """Bytes it still takes."""
    was_full = False

    def make_room(self, count: int | None) -> list[Pdu]:
        """It takes so many bytes from now on; what has come before that."""
        pdus = self.parse(self.reactor.sent(SESSION, self.connection))
        self.room = min(count, ROOM_BYTES_MAX) if count is not None else ROOM_BYTES_MAX
        self.was_full |= self.room == 0
        self.reactor.full_after(SESSION, self.room, self.connection)
        return pdus

    def parse(self, received: bytes) -> list[Pdu]:
        self.room -= len(received)
        self.was_full |= self.room == 0
        return super().parse(received)

    def check_whole(self) -> None:
        """All that has come is whole PDUs, unless there was no room for the rest."""
        assert not self.left or (self.was_full and (self.room == 0 or not self.open)), "a PDU that is not whole"

    def check(self, pdu: Pdu) -> None:
        super().check(pdu)
        assert pdu.opcode in FROM_TARGETS
        if pdu.opcode == Opcode.READY_TO_TRANSFER:
            assert 0 < pdu.desired_length <= self.parameters.max_burst
            assert pdu.ttt != NO_TAG
