"""A far end that takes nothing: what is kept, what waits, what holds memory in place."""

import random
from collections.abc import Callable

import pytest
from goldherd.block.golden import GoldenCache
from goldherd.block.memory import MemoryImage
from goldherd.limits import SEND_STUCK_SECONDS, SERVICE_BYTES_MAX
from goldherd.reactor.events_out import ClosedEvent, CommandEvent
from goldherd.session.codes import CloseReason
from goldherd.wire.opcodes import Opcode

from tests.session.conftest import DISK_BYTES, PATTERN
from tests.session.initiator import INQUIRY, Initiator, Pdu, data_of, only

Login = Callable[..., Initiator]


def drain(initiator: Initiator, step: int) -> list[Pdu]:
    """Lets the far end take `step` bytes at a time until nothing more comes."""
    pdus, quiet = [], 0
    while quiet < 2:
        initiator.reactor.full_after(initiator.session_id, step)
        received = initiator.reactor.receive(initiator.session_id)
        quiet = 0 if received else quiet + 1
        pdus += initiator.parse(received)
    return pdus


@pytest.mark.parametrize("takes", [0, 1, 47, 48, 49, 4095, 4096, 100000])
@pytest.mark.parametrize("digests", [False, True])
def test_a_full_socket_gets_the_same_bytes_later(login: Login, takes: int, digests: bool) -> None:
    initiator = login(header_digest=digests, data_digest=digests)
    initiator.reactor.full_after(initiator.session_id, takes)
    stream = b"".join(initiator.read(lba * 200, 200) for lba in range(20))
    pdus = initiator.send(stream + initiator.other(Opcode.NOP_OUT, data=b"end"))
    pdus += drain(initiator, 65537)
    assert b"".join(pdu.data for pdu in pdus if pdu.opcode == Opcode.DATA_IN) == PATTERN[: 20 * 102400]
    assert pdus[-1].data == b"end"


def test_answers_that_leave_byte_by_byte(login: Login) -> None:
    initiator = login()
    initiator.reactor.full_after(initiator.session_id, 0)
    assert not initiator.send(initiator.read(0, 1) + initiator.write(0, b"n" * 512) + initiator.other(Opcode.NOP_OUT))
    assert [pdu.opcode for pdu in drain(initiator, 1)] == [Opcode.DATA_IN, Opcode.SCSI_RESPONSE, Opcode.NOP_IN]


def test_nothing_is_received_while_answers_wait(login: Login) -> None:
    initiator = login()
    initiator.reactor.full_after(initiator.session_id, 0)
    initiator.send(initiator.read(0, 8))
    segment = initiator.write(0, b"z" * 512)
    initiator.send(segment)
    assert initiator.reactor.unreceived(initiator.session_id) == len(segment)
    initiator.reactor.full_after(initiator.session_id, None)
    assert [pdu.opcode for pdu in initiator.send()] == [Opcode.DATA_IN, Opcode.SCSI_RESPONSE]


def test_replies_wait_for_a_full_socket(login: Login) -> None:
    initiator = login()
    initiator.send(initiator.command(INQUIRY, expected=255))
    event = initiator.event(CommandEvent)
    initiator.reactor.full_after(initiator.session_id, 10)
    initiator.send(initiator.read(0, 1))
    assert not initiator.reply(event, 0, b"", b"late")
    initiator.reactor.full_after(initiator.session_id, None)
    assert [pdu.data for pdu in initiator.send()] == [PATTERN[:512], b"late"]


def test_a_peer_that_takes_no_byte_is_let_go(login: Login) -> None:
    initiator = login()
    initiator.reactor.full_after(initiator.session_id, 10)
    initiator.send(initiator.read(0, 8))
    start = initiator.reactor.clock_ms
    initiator.reactor.tick(start + SEND_STUCK_SECONDS * 1000)
    assert initiator.open
    initiator.reactor.full_after(initiator.session_id, 1)  # one byte is progress
    initiator.reactor.tick(start + SEND_STUCK_SECONDS * 1000 + 500)
    initiator.reactor.tick(start + SEND_STUCK_SECONDS * 1000 + 1000)
    assert initiator.open
    initiator.reactor.tick(start + 3 * SEND_STUCK_SECONDS * 1000)
    assert initiator.post() == [ClosedEvent(initiator.session_id, CloseReason.CLOSE_STUCK, 0, True)]


def test_a_blocked_connection_is_not_pinged(login: Login) -> None:
    initiator = login()
    initiator.reactor.full_after(initiator.session_id, 10)
    initiator.send(initiator.read(0, 1))
    initiator.reactor.tick(initiator.reactor.clock_ms + 20000)
    initiator.reactor.full_after(initiator.session_id, None)
    assert [pdu.opcode for pdu in initiator.send()] == [Opcode.DATA_IN]


def test_one_connection_does_not_keep_its_neighbour_waiting(login: Login) -> None:
    """However much one reads, both get everything, each its own."""
    first = login()
    second = Initiator(reactor=first.reactor, session_id=8, units=first.units)
    reads = 4 * SERVICE_BYTES_MAX // (1 << 20)
    first.reactor.full_after(first.session_id, SERVICE_BYTES_MAX)
    got = first.send(b"".join(first.read(0, 2048) for _ in range(reads)))
    assert only(second.send(second.read(1, 1))).data == PATTERN[512:1024]
    first.reactor.full_after(first.session_id, None)
    got += first.send()
    assert b"".join(pdu.data for pdu in got) == PATTERN[: 1 << 20] * reads


def test_memory_of_the_golden_cache_stays_while_a_full_socket_needs_it() -> None:
    """Eviction takes other slots, however often, until the answer has left; the pins are given back then."""
    source = MemoryImage(DISK_BYTES, read_only=True)
    source._data[:] = PATTERN
    cache = GoldenCache(8 * 262144)
    golden = cache.adopt(source)
    slow = Initiator([golden])
    other = Initiator(reactor=slow.reactor, session_id=8, units=slow.units)
    assert data_of(slow.status(slow.read(0, 512))) == PATTERN[:262144]
    slow.reactor.full_after(slow.session_id, 100)
    slow.send(slow.read(0, 512))
    for lba in random.Random(1).choices(range(512, DISK_BYTES // 512 - 512, 512), k=60):
        assert data_of(other.status(other.read(lba, 512))) == PATTERN[lba * 512 :][:262144]
    assert cache.evictions > 8
    slow.reactor.full_after(slow.session_id, None)
    assert data_of(slow.send()) == PATTERN[:262144]
    slow.settle()
    slow.reactor.hang_up(slow.session_id)
    other.reactor.hang_up(other.session_id)
    golden.close()
    assert cache.resident_bytes == 0  # nothing is pinned any more


def test_pins_of_a_connection_that_goes_are_given_back() -> None:
    source = MemoryImage(1 << 20, read_only=True)
    source._data[:] = PATTERN[: 1 << 20]
    cache = GoldenCache(8 * 262144)
    golden = cache.adopt(source)
    initiator = Initiator([golden])
    initiator.status(initiator.read(0, 2048))
    initiator.reactor.full_after(initiator.session_id, 100)
    initiator.send(initiator.read(0, 2048))
    initiator.reactor.hang_up(initiator.session_id)
    golden.close()
    assert cache.resident_bytes == 0


def test_everything_in_order_under_random_pressure(login: Login) -> None:
    chance = random.Random(20)
    initiator = login(header_digest=True)
    wanted, got = [], []
    for _ in range(300):
        lba, blocks = chance.randrange(4000), chance.choice([1, 8, 64, 600])
        wanted.append(PATTERN[lba * 512 :][: blocks * 512])
        initiator.reactor.full_after(initiator.session_id, chance.choice([0, 10, 1000, 100000, None]))
        got += initiator.send(initiator.read(lba, blocks))
    got += drain(initiator, 1 << 20)
    assert b"".join(pdu.data for pdu in got) == b"".join(wanted)
