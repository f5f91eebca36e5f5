"""What reactors see of a logical unit: its geometry, its prebuilt answers, its flags."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from goldherd.block.memory import MemoryImage
from goldherd.model.parameters import Parameters
from goldherd.reactor.events_out import CommandEvent, EventQueue
from goldherd.reactor.inmemory import InMemoryReactor
from goldherd.scsi.fastpath.unit import HotNexus, HotUnit

TEST_UNIT_READY = bytes(16)


def answer_of(data: bytes, **more: Any) -> Any:
    """A prebuilt answer to TEST UNIT READY."""
    fields = {"cdb": TEST_UNIT_READY, "mask": b"\xff" * 16, "answer": data, "allocation_at": 0, "allocation_bytes": 0}
    return SimpleNamespace(**(fields | more))


@pytest.fixture
def unit() -> HotUnit:
    return HotUnit(MemoryImage(1 << 20))


@pytest.mark.parametrize("block_size", [0, 256, 513, 1000, -512])
def test_a_block_that_is_no_power_of_two_from_512_is_refused(block_size: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        HotUnit(MemoryImage(1 << 20), block_size)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cdb": bytes(15)},
        {"mask": bytes(17)},
        {"allocation_at": 15, "allocation_bytes": 2},
        {"allocation_bytes": 3},
        {"allocation_at": -1},
        {"answer": bytes(8193)},
    ],
)
def test_an_answer_that_can_not_be_given_is_refused(unit: HotUnit, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"prebuilt answer|allocation length"):
        unit.publish([answer_of(b"x", **wrong)])


def ask(reactor: InMemoryReactor, cmd_sn: int) -> bytes:
    """The data that answers a TEST UNIT READY with room for 64 bytes."""
    header = bytearray(48)
    header[0], header[1] = 1, 0xC0
    header[20:24], header[24:28] = (64).to_bytes(4, "big"), cmd_sn.to_bytes(4, "big")
    received = reactor.receive(1, bytes(header))
    return received[48 : 48 + int.from_bytes(received[5:8], "big")]


def test_the_newest_answers_count(unit: HotUnit) -> None:
    reactor = InMemoryReactor(0, EventQueue())
    reactor.connect(1, Parameters(), {0: HotNexus(unit, 0)})
    for number in range(1, 30):
        unit.publish([answer_of(b"answer %d" % number)])
        assert ask(reactor, number) == b"answer %d" % number


def test_answers_may_be_published_while_they_are_given(unit: HotUnit) -> None:
    reactor = InMemoryReactor(0, EventQueue())
    reactor.connect(1, Parameters(), {0: HotNexus(unit, 0)})
    unit.publish([answer_of(b"0" * 40)])
    stop = threading.Event()

    def publish() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            unit.publish([answer_of(bytes([48 + number % 10]) * 40)])

    threads = [threading.Thread(target=publish) for _ in range(2)]
    for thread in threads:
        thread.start()
    answers = [ask(reactor, number) for number in range(1, 2000)]
    stop.set()
    for thread in threads:
        thread.join()
    assert all(len(answer) == 40 and len(set(answer)) == 1 for answer in answers)


def test_flags_of_a_nexus_count_from_the_next_command(unit: HotUnit) -> None:
    reactor = InMemoryReactor(0, EventQueue())
    nexus = HotNexus(unit, 5, 1)
    reactor.connect(1, Parameters(), {0: nexus})
    unit.publish([answer_of(b"ready")])
    assert ask(reactor, 1) == b""
    (event,) = reactor.take_events()
    assert isinstance(event, CommandEvent)
    assert event.nexus == nexus.number == 5
    reactor.reply(1, event.tag, 0, b"", b"judged")
    nexus.flags = 0
    assert ask(reactor, 2) == b"judged"
    assert ask(reactor, 3) == b"ready"
