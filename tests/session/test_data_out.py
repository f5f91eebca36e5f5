"""Writes: immediate and unsolicited data, R2T, Data-Out that was not asked for (RFC 7143 4.2.5.2, 11.7, 11.8)."""

import errno
from collections.abc import Callable
from typing import Any

import pytest
from goldherd.block.memory import MemoryImage
from goldherd.limits import PARAMETER_BYTES_MAX, WRITE_BUFFER_BYTES_MAX
from goldherd.reactor.events_out import CommandEvent, FailedEvent
from goldherd.wire.opcodes import Opcode

from tests.session.conftest import PATTERN
from tests.session.initiator import INQUIRY, SYNCHRONIZE_CACHE, WRITE, Initiator, Pdu, data_of, only

Login = Callable[..., Initiator]
NEW = bytes(reversed(PATTERN))


def content(initiator: Initiator, lba: int, length: int) -> bytes:
    """What the disk holds now."""
    return data_of(initiator.status(initiator.read(lba, length // 512)))


def obey(initiator: Initiator, r2t: Pdu, data: bytes, itt: int, piece: int = 65536) -> list[Pdu]:
    """Sends what an R2T asks for."""
    end = r2t.offset + r2t.desired_length
    pdus = []
    for number, offset in enumerate(range(r2t.offset, end, piece)):
        part = data[offset : min(offset + piece, end)]
        pdus += initiator.send(
            initiator.data_out(itt, offset, part, ttt=r2t.ttt, data_sn=number, final=offset + len(part) == end)
        )
    return pdus


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("fua", [False, True])
@pytest.mark.parametrize(
    ("length", "changed"),
    [
        (512, {}),
        (4096, {"immediate_data": False}),
        (65536, {"initial_r2t": True, "first_burst": 8192}),
        (262144, {}),
        (1 << 20, {"max_burst": 65536, "first_burst": 8192}),
        (3 << 20, {}),
        (3 << 20, {"initial_r2t": True, "immediate_data": False, "max_burst": 262144, "max_recv_data_segment": 8192}),
        (2560, {"max_burst": 1000, "first_burst": 512}),
    ],
)
def test_writes_in_every_shape(
    login: Login, slow_disk: MemoryImage, slow: bool, fua: bool, length: int, changed: dict[str, Any]
) -> None:
    initiator = login(slow_disk, **changed) if slow else login(**changed)
    agreed = initiator.parameters
    data = NEW[:length]
    burst = min(agreed.first_burst, length)
    sent = min(burst, agreed.max_recv_data_segment) if agreed.immediate_data else 0
    unsolicited = 0 if agreed.initial_r2t else burst
    itt = 77
    first = initiator.write(9, data, sent=sent, itt=itt, fua=fua, final=unsolicited <= sent)
    piece = agreed.max_recv_data_segment
    for number, offset in enumerate(range(sent, unsolicited, piece)):
        part = data[offset : min(offset + piece, unsolicited)]
        first += initiator.data_out(itt, offset, part, data_sn=number, final=offset + len(part) == unsolicited)
    pdus = initiator.until(bool, first)
    bursts = []
    while pdus[-1].opcode == Opcode.READY_TO_TRANSFER:
        asks = pdus[-1]
        bursts.append(asks)
        assert 0 < asks.desired_length <= agreed.max_burst
        pdus = obey(initiator, asks, data, itt, piece) or initiator.until(bool)
    assert [pdu.data_sn for pdu in bursts] == list(range(len(bursts)))
    assert (only(pdus).status, only(pdus).residual_of) == (0, ("", 0))
    assert content(initiator, 9, length) == data
    assert initiator.reactor.counters()["jobs"] >= fua


@pytest.mark.parametrize(
    ("blocks", "expected", "residual"),
    [(4, 4096, ("U", 2048)), (4, 1024, ("O", 1024)), (4, 0, ("O", 2048)), (0, 512, ("U", 512))],
)
def test_residual_of_a_write(login: Login, blocks: int, expected: int, residual: tuple[str, int]) -> None:
    initiator = login()
    cdb = initiator.write(0, bytes(blocks * 512))[32:48]
    initiator.cmd_sn -= 1
    segment = initiator.command(cdb, expected=expected, data=NEW[:expected], flags=WRITE)
    assert only(initiator.until(bool, segment)).residual_of == residual
    whole = min(blocks * 512, expected) // 512 * 512
    assert content(initiator, 0, 2048) == NEW[:whole] + PATTERN[whole:2048]


def test_a_write_without_the_w_bit_moves_nothing(login: Login) -> None:
    initiator = login()
    cdb = initiator.write(0, bytes(512))[32:48]
    initiator.cmd_sn -= 1
    assert only(initiator.send(initiator.command(cdb, expected=512, flags=0))).residual_of == ("O", 512)


def test_data_without_the_w_bit_is_a_protocol_error(login: Login) -> None:
    initiator = login()
    assert only(initiator.send(initiator.read(0, 1, data=bytes(512)))).reason == 4
    assert not initiator.open


@pytest.mark.parametrize(("immediate_data", "first_burst"), [(False, 65536), (True, 4096)])
@pytest.mark.parametrize("length", [8192, 32768])
def test_immediate_data_that_was_not_agreed_on(
    login: Login, immediate_data: bool, first_burst: int, length: int
) -> None:
    initiator = login(immediate_data=immediate_data, first_burst=first_burst)
    segment = initiator.write(0, NEW[:length])
    assert not initiator.send(segment[:2000]) + initiator.send(segment[2000:])
    event = initiator.event(FailedEvent)
    assert (event.errno, event.purpose) == (errno.EOVERFLOW, 2)
    assert only(initiator.reply(event, 2, b"sense", written=0)).residual_of == ("U", length)
    assert content(initiator, 0, length) == PATTERN[:length]


def test_unsolicited_data_longer_than_the_command_block_asks_for(login: Login) -> None:
    initiator = login()
    cdb = initiator.write(0, bytes(1024))[32:48]
    initiator.cmd_sn -= 1
    initiator.send(initiator.command(cdb, expected=65536, data=NEW[:4096], flags=WRITE, final=False, itt=3))
    answer = only(initiator.send(initiator.data_out(3, 4096, NEW[4096:65536])))
    assert answer.residual_of == ("U", 64512)
    assert content(initiator, 0, 2048) == NEW[:1024] + PATTERN[1024:2048]


WRONG = {
    "offset": {"offset": 512},
    "offset before": {"offset": 0xFFFFFE00},
    "data_sn": {"data_sn": 1},
    "length": {"length": 8704},
    "far too long": {"length": 131072},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("solicited", [True, False])
def test_data_out_that_was_not_asked_for_fails_its_task(login: Login, wrong: dict[str, Any], solicited: bool) -> None:
    initiator = login(first_burst=8192)
    pdus = initiator.send(initiator.write(0, NEW[:8192], sent=0, itt=5, final=solicited))
    ttt = only(pdus).ttt if solicited else 0xFFFFFFFF
    segment = initiator.data_out(
        5, wrong.get("offset", 0), NEW[: wrong.get("length", 8192)], ttt=ttt, data_sn=wrong.get("data_sn", 0)
    )
    assert not initiator.send(segment[:500]) + initiator.send(segment[500:])
    event = initiator.event(FailedEvent)
    assert event.errno == errno.EPROTO
    assert initiator.reactor.buffer_bytes == 0
    assert not initiator.send(initiator.data_out(5, 0, NEW[:8192], ttt=ttt))  # too late
    assert only(initiator.reply(event, 2, b"sense", written=0)).status == 2
    assert content(initiator, 0, 8192) == PATTERN[:8192]


def test_data_out_with_a_wrong_tag_is_dropped(login: Login) -> None:
    initiator = login()
    r2t = only(initiator.send(initiator.write(0, NEW[:16384], sent=0, itt=5)))
    tags = [r2t.ttt ^ 1, r2t.ttt + (1 << 20), 0xFFFFFFFF, 0, 0xFFFFFFFE]
    for itt, ttt in [(6, r2t.ttt), *((5, tag) for tag in tags)]:
        for length in (512, 16384):
            assert not initiator.send(initiator.data_out(itt, 0, NEW[:length], ttt=ttt))
    assert initiator.reactor.counters()["dropped"] == 12
    assert only(obey(initiator, r2t, NEW, 5)).status == 0
    assert not initiator.send(initiator.data_out(5, 0, NEW[:512], ttt=r2t.ttt))  # the task is gone


def test_data_out_of_another_session_is_dropped(login: Login) -> None:
    first = login()
    second = Initiator(reactor=first.reactor, session_id=8, units=first.units)
    r2t = only(first.send(first.write(0, NEW[:4096], sent=0, itt=5)))
    assert not second.send(second.data_out(5, 0, NEW[:4096], ttt=r2t.ttt))
    assert second.open
    assert content(first, 0, 4096) == PATTERN[:4096]


def test_a_burst_that_ends_early_is_asked_for_again(login: Login) -> None:
    initiator = login()
    r2t = only(initiator.send(initiator.write(0, NEW[:8192], sent=0, itt=5)))
    again = only(initiator.send(initiator.data_out(5, 0, NEW[:1024], ttt=r2t.ttt)))
    assert (again.offset, again.desired_length, again.data_sn) == (1024, 7168, 1)
    assert only(obey(initiator, again, NEW, 5)).status == 0
    assert content(initiator, 0, 8192) == NEW[:8192]


def test_empty_data_out_changes_nothing(login: Login) -> None:
    initiator = login()
    r2t = only(initiator.send(initiator.write(0, NEW[:1024], sent=0, itt=5)))
    assert not initiator.send(initiator.data_out(5, 0, b"", ttt=r2t.ttt, final=False))
    assert only(initiator.send(initiator.data_out(5, 0, NEW[:1024], ttt=r2t.ttt, data_sn=1))).status == 0


def test_parameter_data_is_collected_for_the_control_plane(login: Login) -> None:
    """PERSISTENT RESERVE OUT-like lists come whole; R2Ts keep to MaxBurstLength (RFC 7143 11.8.5)."""
    initiator = login(max_burst=16384, first_burst=4096)
    blocks = 200
    verify = bytes([0x8F, 2]) + bytes(8) + blocks.to_bytes(4, "big") + bytes(2)  # VERIFY(16), BYTCHK 1
    data = NEW[: blocks * 512]
    pdus = initiator.send(initiator.command(verify, expected=len(data), data=data[:4096], flags=WRITE, itt=5))
    while pdus:
        assert only(pdus).desired_length <= 16384
        pdus = obey(initiator, only(pdus), data, 5)
    event = initiator.event(CommandEvent)
    assert (event.data_out, event.cdb, event.expected) == (data, verify, len(data))
    assert initiator.reactor.buffer_bytes == 131072  # stands for the copy that Python holds
    assert only(initiator.reply(event, 0, written=len(data))).residual_of == ("", 0)
    assert initiator.reactor.buffer_bytes == 0


@pytest.mark.parametrize("length", [1 << 20, (1 << 20) + 512, 5 << 20])
def test_long_parameter_data_is_handed_over_whole(login: Login, length: int) -> None:
    """Above WRITE_CHUNK_BYTES_MAX the buffer itself goes to the control plane; it is counted until the reply."""
    initiator = login(max_burst=1 << 20)
    data = (NEW * (length // len(NEW) + 1))[:length]
    verify = bytes([0x8F, 2]) + bytes(8) + (length // 512).to_bytes(4, "big") + bytes(2)
    for itt in (5, 6):
        pdus = initiator.send(initiator.command(verify, expected=length, flags=WRITE, itt=itt))
        while pdus:
            pdus = obey(initiator, only(pdus), data, itt)
        event = initiator.event(CommandEvent)
        assert event.data_out == data
        assert initiator.reactor.buffer_bytes >= length
        assert only(initiator.reply(event, 0, written=length)).residual_of == ("", 0)
        assert initiator.reactor.buffer_bytes == 0


def test_long_parameter_data_that_no_reply_comes_for_ends_with_its_reactor(login: Login) -> None:
    initiator = login(max_burst=1 << 20)
    verify = bytes([0x8F, 2]) + bytes(8) + (4096).to_bytes(4, "big") + bytes(2)
    pdus = initiator.send(initiator.command(verify, expected=2 << 20, flags=WRITE, itt=5))
    while pdus:
        pdus = obey(initiator, only(pdus), NEW * 4, 5)
    assert initiator.reactor.buffer_bytes == 2 << 20
    initiator.post()


def test_parameter_data_is_bounded(login: Login) -> None:
    """An expected length of 4 GiB reserves no memory."""
    initiator = login()
    verify = bytes([0x8F, 2]) + bytes(8) + (0xFFFFFFFF).to_bytes(4, "big") + bytes(2)
    r2t = only(initiator.send(initiator.command(verify, expected=0xFFFFFFFF, flags=WRITE)))
    assert r2t.desired_length == 1 << 20
    assert initiator.reactor.buffer_bytes == PARAMETER_BYTES_MAX
    initiator.send(initiator.command(INQUIRY, expected=0xFFFFFFFF, flags=WRITE))
    assert initiator.reactor.buffer_bytes <= PARAMETER_BYTES_MAX + 65536
    initiator.post()


def test_synchronize_cache_waits_for_the_disk(login: Login) -> None:
    initiator = login()
    assert only(initiator.status(initiator.command(SYNCHRONIZE_CACHE))).status == 0
    assert initiator.reactor.counters()["jobs"] == 1


def test_writes_without_a_buffer_are_told_task_set_full(login: Login) -> None:
    initiator = login(max_burst=1 << 20, first_burst=262144)
    waiting = []
    for itt in range(WRITE_BUFFER_BYTES_MAX >> 21):  # a session gets no more than it leaves to others
        waiting += initiator.send(initiator.write(0, NEW[: 1 << 20], sent=0, itt=itt))
    assert initiator.reactor.buffer_bytes == WRITE_BUFFER_BYTES_MAX // 2
    assert only(initiator.send(initiator.write(0, NEW[:1024], sent=512, final=False))).status == 0x28
    assert not initiator.send(initiator.write(0, NEW[: 1 << 20], sent=0, itt=500))  # its R2T waits for room
    assert only(initiator.send(initiator.write(0, NEW[:512]))).status == 0  # goes without a buffer
    pdus = obey(initiator, waiting[0], NEW, waiting[0].itt)
    pdus = pdus or initiator.until(lambda pdus: len(pdus) == 2)
    assert {pdu.opcode for pdu in pdus} == {Opcode.SCSI_RESPONSE, Opcode.READY_TO_TRANSFER}
    assert next(pdu for pdu in pdus if pdu.opcode == Opcode.READY_TO_TRANSFER).itt == 500


def test_buffers_of_tasks_that_were_aborted_in_the_pool_serve_those_that_wait(login: Login) -> None:
    initiator = login(max_burst=1 << 20, first_burst=262144)
    count = WRITE_BUFFER_BYTES_MAX >> 21
    r2ts = [only(initiator.send(initiator.write(0, NEW[: 1 << 20], sent=0, itt=itt))) for itt in range(count)]
    assert not initiator.send(initiator.write(0, NEW[: 1 << 20], sent=0, itt=500))
    obey(initiator, r2ts[0], NEW, 0)
    initiator.reactor.abort_task(1, initiator.session_id, int.from_bytes((0).to_bytes(4, "big"), "little"))
    pdus = initiator.until(bool)
    assert pdus[-1].itt == 500
    initiator.post()
