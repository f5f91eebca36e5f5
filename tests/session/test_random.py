"""Seeded streams of commands in random segments, against a plain array of bytes. A failure prints the seed."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from goldherd.block.file import FileImage
from goldherd.block.golden import GoldenCache
from goldherd.block.image import Image
from goldherd.block.memory import MemoryImage
from goldherd.wire.opcodes import Opcode

from tests.session.conftest import PATTERN
from tests.session.initiator import NO_TAG, Initiator, Pdu, cdb_read, cdb_write

BLOCKS = 2048
CONTENT = PATTERN[: BLOCKS * 512]


@dataclass
class Doing:
    """A command under way: the data it has to move, or what a read has to bring."""

    data: bytes
    write: bool
    got: bytearray = field(default_factory=bytearray)


class Player:
    """Plays random commands: those under way at a time never touch the same blocks, so that the model is exact."""

    def __init__(self, image: Image, seed: int, *, writes: bool) -> None:
        self.chance = random.Random(seed)
        agreed: dict[str, Any] = {
            "max_send_data_segment": self.chance.choice([512, 1500, 8192, 262144]),
            "max_recv_data_segment": self.chance.choice([512, 8192, 65536, 262144]),
            "max_burst": self.chance.choice([512, 16384, 262144, 1048576]),
            "initial_r2t": self.chance.random() < 0.5,
            "immediate_data": self.chance.random() < 0.7,
            "header_digest": self.chance.random() < 0.5,
            "data_digest": self.chance.random() < 0.5,
        }
        agreed["first_burst"] = min(self.chance.choice([512, 8192, 262144]), agreed["max_burst"])
        start = self.chance.choice([1, 0xFFFFFFF0])
        self.initiator = Initiator([image], cmd_sn=start, stat_sn=start, **agreed)
        self.model = bytearray(CONTENT)
        self.doing: dict[int, Doing] = {}
        self.busy: set[int] = set()
        self.writes = writes
        self.outgoing = b""
        self.done = 0

    def start(self) -> None:
        """One more command, unless its blocks are in use."""
        chance, agreed = self.chance, self.initiator.parameters
        blocks = chance.choice([1, 1, 2, 8, 8, 64, 300, 700])
        lba = chance.randrange(BLOCKS - blocks)
        used = set(range(lba, lba + blocks))
        if used & self.busy:
            return
        self.busy |= used
        itt = self.initiator.next_itt()
        span = slice(lba * 512, (lba + blocks) * 512)
        immediate = chance.random() < 0.1
        if not self.writes or chance.random() < 0.5:
            self.doing[itt] = Doing(bytes(self.model[span]), False)
            self.outgoing += self.initiator.command(
                cdb_read(lba, blocks), expected=blocks * 512, itt=itt, immediate=immediate
            )
            return
        data = chance.randbytes(8) * (blocks * 64)
        self.model[span] = data
        self.doing[itt] = Doing(data, True)
        burst = min(agreed.first_burst, len(data))
        now = 0
        if agreed.immediate_data:
            now = min(burst, agreed.max_recv_data_segment, chance.choice([0, 512, 1 << 20]))
        unsolicited = now if agreed.initial_r2t or chance.random() < 0.3 else burst
        self.outgoing += self.initiator.command(
            cdb_write(lba, blocks, fua=chance.random() < 0.05),
            expected=len(data),
            data=data[:now],
            itt=itt,
            flags=0x20,
            final=unsolicited == now,
            immediate=immediate,
        )
        self.burst(itt, data, now, unsolicited, NO_TAG)

    def burst(self, itt: int, data: bytes, begin: int, end: int, ttt: int) -> None:
        """Data-Out for a range, in pieces of random size."""
        number = 0
        while begin < end:
            longest = self.initiator.parameters.max_recv_data_segment
            piece = min(end - begin, longest, self.chance.choice([512, 1460, 1 << 20]))
            self.outgoing += self.initiator.data_out(
                itt, begin, data[begin : begin + piece], ttt=ttt, data_sn=number, final=begin + piece == end
            )
            begin += piece
            number += 1

    def take(self, pdus: list[Pdu]) -> None:
        """Acts on answers."""
        for pdu in pdus:
            if pdu.opcode == Opcode.NOP_IN:
                assert pdu.data == b"are you there"
                continue
            doing = self.doing[pdu.itt]
            if pdu.opcode == Opcode.READY_TO_TRANSFER:
                self.burst(pdu.itt, doing.data, pdu.offset, pdu.offset + pdu.desired_length, pdu.ttt)
            elif pdu.opcode == Opcode.DATA_IN:
                assert pdu.offset == len(doing.got)
                doing.got += pdu.data
            if pdu.opcode == Opcode.SCSI_RESPONSE or (pdu.opcode == Opcode.DATA_IN and pdu.flags & 1):
                assert (pdu.status, pdu.residual_of) == (0, ("", 0))
                assert doing.write or doing.got == doing.data
                del self.doing[pdu.itt]
                self.done += 1
        if not self.doing:
            self.busy.clear()

    def step(self) -> None:
        """Sends a segment of random length, through a socket that takes a random number of bytes."""
        initiator, chance = self.initiator, self.chance
        initiator.reactor.full_after(initiator.session_id, chance.choice([None, None, 0, 100, 70000]))
        cut = min(len(self.outgoing), chance.choice([1, 47, 48, 100, 1460, 1460, 65536, 1 << 20]))
        segment, self.outgoing = self.outgoing[:cut], self.outgoing[cut:]
        self.take(initiator.send(segment))

    def play(self, commands: int) -> None:
        """Plays until so many commands are done, then checks that nothing is left behind."""
        while self.done < commands:
            if len(self.doing) < 24 and self.chance.random() < 0.5:
                self.start()
            if self.chance.random() < 0.02:
                self.outgoing += self.initiator.other(Opcode.NOP_OUT, data=b"are you there")
            self.step()
        while self.doing or self.outgoing:
            self.step()
        assert self.initiator.open
        assert not self.initiator.post()
        self.initiator.settle()
        assert self.initiator.reactor.live_tasks == 0
        assert self.initiator.reactor.buffer_bytes == 0


@pytest.mark.parametrize("seed", range(12))
def test_random_commands_on_a_file(file_of: Callable[..., FileImage], seed: int) -> None:
    image = file_of(CONTENT)
    player = Player(image, seed, writes=True)
    player.play(150)
    assert image.read(0, len(CONTENT)) == player.model


@pytest.mark.parametrize("seed", range(100, 104))
def test_random_commands_on_a_backend_in_python(seed: int) -> None:
    image = MemoryImage(len(CONTENT))
    image.write(0, memoryview(CONTENT))
    player = Player(image, seed, writes=True)
    player.play(80)
    assert image.read(0, len(CONTENT)) == player.model


@pytest.mark.parametrize("seed", range(200, 204))
def test_random_reads_from_a_golden_cache_that_is_too_small(file_of: Callable[..., FileImage], seed: int) -> None:
    golden = GoldenCache(1).adopt(file_of(CONTENT, read_only=True))
    Player(golden, seed, writes=False).play(150)
