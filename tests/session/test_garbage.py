"""Bytes nobody should send: whatever comes, the core lives, ends what it must, and holds no memory. Seeded."""

import random
from collections.abc import Callable

import pytest
from goldherd.block.file import FileImage
from goldherd.reactor.events_out import ClosedEvent, CommandEvent, FailedEvent, RequestEvent
from goldherd.wire.opcodes import Opcode

from tests.session.conftest import PATTERN, warm
from tests.session.initiator import INQUIRY, SYNCHRONIZE_CACHE, Initiator

SMALL = PATTERN[: 1 << 20]


def valid_pdus(initiator: Initiator, chance: random.Random, tag: int) -> bytes:
    """One of everything an initiator may send, most of it in order."""
    itt = chance.randrange(1, 6)
    data = bytes(chance.choice([512, 512, 4096, 8192, 65536]))
    makers: list[Callable[[], bytes]] = [
        lambda: initiator.read(chance.randrange(2000), chance.randrange(40), itt=itt),
        lambda: initiator.write(chance.randrange(500), data, itt=itt),
        lambda: initiator.write(chance.randrange(500), data, sent=0, itt=itt, final=chance.random() < 0.5),
        lambda: initiator.data_out(itt, chance.choice([0, 512, 1 << 31]), data, ttt=chance.choice([tag, tag, 7])),
        lambda: initiator.command(INQUIRY, expected=chance.choice([0, 255, 0xFFFFFFFF]), itt=itt),
        lambda: initiator.command(SYNCHRONIZE_CACHE, itt=itt),
        lambda: initiator.command(chance.randbytes(16), expected=chance.randrange(9000), data=data, itt=itt),
        lambda: initiator.other(chance.choice([*Opcode, 0x1C]), data=data[:600], itt=itt),
    ]
    return chance.choice(makers)()


def mutated(chance: random.Random, segment: bytes) -> bytes:
    """Some bits changed, most of them in the header; or bytes lost, or doubled."""
    changed = bytearray(segment)
    kind = chance.random()
    if kind < 0.6:
        for _ in range(chance.choice([1, 1, 2, 8])):
            place = chance.randrange(min(len(changed), 48 if chance.random() < 0.9 else len(changed)))
            changed[place] = chance.choice([0, 0xFF, changed[place] ^ 1 << chance.randrange(8), chance.randrange(256)])
    elif kind < 0.8:
        del changed[chance.randrange(len(changed)) :]
    else:
        changed += changed[: chance.randrange(len(changed))]
    return bytes(changed) or b"\0"


def answer_events(initiator: Initiator, chance: random.Random) -> bool:
    """The control plane's part, with delays and odd answers; whether the connection was reported closed."""
    reactor, closed = initiator.reactor, False
    for event in initiator.post():
        if isinstance(event, ClosedEvent):
            closed = True
        elif isinstance(event, CommandEvent | FailedEvent):
            if chance.random() < 0.2:
                reactor.abort_task(5, initiator.session_id, chance.randrange(6) << 24)
            written = chance.choice([None, 0, 512])
            data = b"" if written is not None else bytes(chance.randrange(5000))
            reactor.reply(
                event.session_id, event.tag, chance.choice([0, 2]), b"sense" * chance.randrange(2), data, written
            )
        elif isinstance(event, RequestEvent):
            reactor.send_pdu(event.session_id, chance.choice([b"", bytes([0x24, 0x80]) + bytes(46)]), 1, event.tag)
        if chance.random() < 0.05:
            reactor.abort_session_tasks(6, initiator.session_id, None)
    return closed


def play(image: FileImage, seed: int, segments: int, wrong: float) -> int:
    """Feeds a connection until it is closed or enough was sent; returns the number of segments."""
    chance = random.Random(seed)
    digests = chance.random() < 0.3
    initiator = Initiator(
        [image],
        header_digest=digests and chance.random() < 0.5,
        data_digest=digests,
        immediate_data=chance.random() < 0.8,
        initial_r2t=chance.random() < 0.5,
        max_burst=chance.choice([512, 4096, 1 << 20]),
        first_burst=512,
        session_id=seed + 1,
    )
    tag, sent = 7, 0
    for sent in range(segments):  # noqa: B007
        if chance.random() < 0.05:
            initiator.reactor.full_after(initiator.session_id, chance.choice([0, 60, 5000]))
        segment = valid_pdus(initiator, chance, tag)
        if chance.random() < wrong:
            segment = mutated(chance, segment) if chance.random() < 0.9 else chance.randbytes(chance.randrange(1, 3000))
        cut = chance.randrange(len(segment))
        received = initiator.reactor.receive(initiator.session_id, segment[:cut])
        received += initiator.reactor.receive(initiator.session_id, segment[cut:])
        for at in range(len(received) - 47):
            if received[at] == Opcode.READY_TO_TRANSFER and received[at + 1] == 0x80:
                tag = int.from_bytes(received[at + 20 : at + 24], "big")
                break
        initiator.reactor.full_after(initiator.session_id, None)
        answer_events(initiator, chance)
        if not initiator.open:
            break
    initiator.reactor.hang_up(initiator.session_id)
    while initiator.reactor.busy:
        initiator.wait()
        initiator.reactor.step()
    answer_events(initiator, chance)
    assert not initiator.open
    assert (initiator.reactor.live_tasks, initiator.reactor.buffer_bytes, initiator.reactor.sessions) == (0, 0, 0)
    return sent + 1


@pytest.fixture
def small(file_of: Callable[..., FileImage]) -> FileImage:
    """A disk of 1 MiB, in memory."""
    return warm(file_of(SMALL))


@pytest.mark.parametrize("wrong", [0.0, 0.02, 0.2, 1.0])
def test_mutated_pdus(small: FileImage, wrong: float) -> None:
    seed = int(wrong * 100) * 10000
    sent = 0
    while sent < 6000:
        sent += play(small, seed, 60, wrong)
        seed += 1


def test_random_bytes(small: FileImage) -> None:
    chance = random.Random(99)
    for _ in range(1500):
        initiator = Initiator([small], header_digest=chance.random() < 0.1)
        initiator.reactor.receive(initiator.session_id, chance.randbytes(chance.randrange(1, 5000)))
        initiator.reactor.hang_up(initiator.session_id)
        assert (initiator.reactor.live_tasks, initiator.reactor.buffer_bytes) == (0, 0)


def test_every_header_byte_in_every_extreme(small: FileImage) -> None:
    """Each field of each PDU at 0x00, 0x7F, 0x80 and 0xFF, while tasks are under way."""
    chance = random.Random(3)
    for place in range(48):
        for value in (0, 0x7F, 0x80, 0xFF):
            for number in range(6):
                initiator = Initiator([small])
                initiator.reactor.receive(initiator.session_id, initiator.write(0, bytes(8192), sent=0, itt=2))
                segment = bytearray(
                    [
                        initiator.read(1, 1),
                        initiator.write(1, bytes(512)),
                        initiator.data_out(2, 0, bytes(8192)),
                        initiator.other(Opcode.NOP_OUT, data=b"x"),
                        initiator.command(INQUIRY, expected=255),
                        initiator.other(Opcode.TASK_MANAGEMENT_REQUEST),
                    ][number]
                )
                segment[place] = value
                initiator.reactor.receive(initiator.session_id, bytes(segment))
                initiator.reactor.receive(initiator.session_id, initiator.read(0, 1))
                answer_events(initiator, chance)
                initiator.reactor.hang_up(initiator.session_id)
                initiator.settle()
                assert (initiator.reactor.live_tasks, initiator.reactor.buffer_bytes) == (0, 0)
