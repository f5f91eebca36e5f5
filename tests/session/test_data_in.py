"""Reads: Data-In, sequences, residuals and status (RFC 7143 4.2.5.3, 11.4.5, 11.7)."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from goldherd.block.file import FileImage
from goldherd.block.memory import MemoryImage
from goldherd.reactor.events_out import CommandEvent
from goldherd.scsi.fastpath.unit import HotUnit
from goldherd.wire.opcodes import Opcode

from tests.session.conftest import DISK_BYTES, PATTERN
from tests.session.initiator import INQUIRY, READ, WRITE, Initiator, cdb_read, data_of, lun_field, only

Login = Callable[..., Initiator]


def test_status_rides_on_the_last_data_in(login: Login) -> None:
    pdu = only(login().send(login().read(0, 8)))
    assert (pdu.opcode, pdu.flags, pdu.status, pdu.ttt) == (Opcode.DATA_IN, 0x81, 0, 0xFFFFFFFF)
    assert pdu.data == PATTERN[:4096]


@pytest.mark.parametrize("segment", [512, 1024, 8192, 8500, 65536, 262144])
@pytest.mark.parametrize("burst", [512, 4096, 65536, 262144, 1048576])
def test_data_in_is_split_at_segment_and_burst(login: Login, segment: int, burst: int) -> None:
    initiator = login(max_send_data_segment=segment, max_burst=burst)
    pdus = initiator.send(initiator.read(1, 500))
    assert data_of(pdus) == PATTERN[512:][: 500 * 512]
    assert all(len(pdu.data) <= segment for pdu in pdus)
    sequence = 0
    for pdu in pdus:
        sequence += len(pdu.data)
        assert sequence <= burst
        if pdu.final:
            sequence = 0
    assert pdus[-1].flags & 0x81 == 0x81
    assert all(not pdu.flags & 1 for pdu in pdus[:-1])
    finals = [pdu for pdu in pdus[:-1] if pdu.final]
    assert all((pdu.offset + len(pdu.data)) % (burst & ~511) == 0 for pdu in finals)


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize(
    ("blocks", "expected", "residual"),
    [
        (2, 1024, ("", 0)),
        (2, 4096, ("U", 3072)),
        (2, 1000, ("O", 24)),
        (2, 512, ("O", 512)),
        (2, 1, ("O", 1023)),
        (2, 0, ("O", 1024)),
        (0, 0, ("", 0)),
        (0, 512, ("U", 512)),
        (1000, 300001, ("O", 512000 - 300001)),
    ],
)
def test_residual_of_a_read(
    login: Login, slow_disk: MemoryImage, slow: bool, blocks: int, expected: int, residual: tuple[str, int]
) -> None:
    initiator = login(slow_disk) if slow else login()
    pdus = initiator.status(initiator.read(3, blocks, expected, flags=READ))
    moved = min(expected, blocks * 512)
    assert data_of(pdus) == PATTERN[1536 : 1536 + moved]
    assert pdus[-1].residual_of == residual
    assert (pdus[-1].opcode == Opcode.DATA_IN) == bool(moved)


def test_a_read_without_the_r_bit_moves_nothing(login: Login) -> None:
    initiator = login()
    answer = only(initiator.send(initiator.read(0, 2, 1024, flags=0)))
    assert (answer.opcode, answer.residual_of) == (Opcode.SCSI_RESPONSE, ("O", 1024))


@pytest.mark.parametrize("digests", [False, True])
def test_16_mib_and_more_in_one_command(file_of: Callable[..., FileImage], login: Login, digests: bool) -> None:
    content = PATTERN * 5
    initiator = login(file_of(content), data_digest=digests, header_digest=digests)
    pdus = initiator.status(initiator.read(5, (17 << 20) // 512))
    assert data_of(pdus) == content[2560:][: 17 << 20]


def test_16_mib_and_more_through_another_thread(login: Login) -> None:
    image = MemoryImage(20 << 20)
    image.write(0, memoryview(PATTERN * 5))
    initiator = login(image)
    assert data_of(initiator.status(initiator.read(0, (20 << 20) // 512))) == PATTERN * 5


@pytest.mark.parametrize(
    "cdb",
    [
        bytes([0x08, 0x00, 0x00, 0x05, 0x02, 0x00]),
        bytes([0x28, 0, 0, 0, 0, 5, 0, 0, 2, 0]),
        bytes([0xA8, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0]),
        cdb_read(5, 2),
    ],
    ids=["read6", "read10", "read12", "read16"],
)
def test_every_form_of_read(login: Login, cdb: bytes) -> None:
    initiator = login()
    pdu = only(initiator.send(initiator.command(cdb, expected=1024)))
    assert pdu.data == PATTERN[2560:3584]


def test_read6_of_zero_blocks_means_256(login: Login) -> None:
    initiator = login()
    assert data_of(initiator.send(initiator.command(bytes([8]), expected=131072))) == PATTERN[:131072]


@pytest.mark.parametrize(
    ("lba", "blocks"),
    [
        (DISK_BYTES // 512, 1),
        (DISK_BYTES // 512 - 1, 2),
        (1 << 63, 1),
        ((1 << 64) - 1, 0xFFFFFFFF),
        (0, 0xFFFFFFFF),
        (DISK_BYTES // 512, 0),
    ],
)
def test_a_read_beyond_the_end_is_judged_by_the_control_plane(login: Login, lba: int, blocks: int) -> None:
    initiator = login()
    assert not initiator.send(initiator.read(lba, blocks, 512))
    event = initiator.event(CommandEvent)
    assert event.cdb == cdb_read(lba, blocks)
    assert only(initiator.reply(event, 2, b"sense")).data == b"\0\5sense"


@pytest.mark.parametrize(
    ("field", "number"),
    [(lun_field(1), 1), (bytes([0x40, 1, 0, 0, 0, 0, 0, 0]), 1), (bytes([0x40, 0, 0, 0, 0, 0, 0, 0]), 0)],
    ids=["peripheral", "flat", "flat0"],
)
def test_forms_of_a_lun(login: Login, disk: FileImage, slow_disk: MemoryImage, field: bytes, number: int) -> None:
    slow_disk.write(0, memoryview(b"second".ljust(512)))
    initiator = login(disk, slow_disk)
    wanted = [PATTERN[:6], b"second"][number]
    assert data_of(initiator.status(initiator.read(0, 1, lun=field)))[:6] == wanted


@pytest.mark.parametrize(
    "field",
    [
        lun_field(2),
        lun_field(256),
        lun_field(0x3FFF),
        bytes([0x40, 2] + [0] * 6),
        bytes([0, 0, 0, 1, 0, 0, 0, 0]),
        bytes([0x80] + [0] * 7),
        b"\xff" * 8,
    ],
)
def test_commands_to_a_lun_that_is_not_there_go_to_the_control_plane(login: Login, field: bytes) -> None:
    initiator = login()
    assert not initiator.send(initiator.read(0, 1, lun=field))
    event = initiator.event(CommandEvent)
    assert (event.nexus, event.lun) == (0xFFFFFFFF, field)
    assert only(initiator.reply(event, 2, b"none")).status == 2


def answering(disk: FileImage, answer: bytes, allocation: int = 0) -> HotUnit:
    """A unit with one prebuilt answer to INQUIRY."""
    unit = HotUnit(disk)
    mask = bytes([0xFF, 0xFF, 0xFF, 0, 0]) + b"\xff" * 11
    cdb = bytes(byte & keep for byte, keep in zip(INQUIRY, mask, strict=True))
    unit.publish([SimpleNamespace(cdb=cdb, mask=mask, answer=answer, allocation_at=3, allocation_bytes=2)])
    return unit


@pytest.mark.parametrize(
    ("allocation", "expected", "length", "residual"),
    [
        (255, 255, 36, ("U", 219)),
        (36, 36, 36, ("", 0)),
        (5, 255, 5, ("U", 250)),
        (255, 20, 20, ("O", 16)),
        (0, 255, 0, ("U", 255)),
        (255, 0, 0, ("O", 36)),
    ],
)
def test_a_prebuilt_answer_obeys_allocation_and_expected_length(
    disk: FileImage, allocation: int, expected: int, length: int, residual: tuple[str, int]
) -> None:
    answer = bytes(range(36))
    initiator = Initiator(units=[answering(disk, answer)])
    cdb = bytes([0x12, 0, 0]) + allocation.to_bytes(2, "big")
    pdu = only(initiator.send(initiator.command(cdb, expected=expected, flags=READ)))
    assert (pdu.data, pdu.residual_of, pdu.status) == (answer[:length], residual, 0)


def test_a_prebuilt_answer_that_needs_two_data_in_is_given_by_the_control_plane(disk: FileImage) -> None:
    initiator = Initiator(units=[answering(disk, bytes(700))], max_send_data_segment=512)
    cdb = bytes([0x12, 0, 0, 4, 0])
    assert not initiator.send(initiator.command(cdb, expected=1024))
    pdus = initiator.reply(initiator.post()[0], 0, b"", bytes(700))
    assert [len(pdu.data) for pdu in pdus] == [512, 188]
    assert pdus[-1].residual_of == ("U", 324)


def test_a_reply_without_the_r_bit_carries_no_data(login: Login) -> None:
    """RFC 7143 11.3.5: the expected length is the write's."""
    initiator = login()
    initiator.send(initiator.command(INQUIRY, expected=512, flags=WRITE, data=bytes(512)))
    event = initiator.event(CommandEvent)
    answer = only(initiator.reply(event, 0, b"", bytes(36)))
    assert (answer.opcode, answer.residual_of) == (Opcode.SCSI_RESPONSE, ("O", 36))


def test_a_reply_with_sense_and_data_has_its_status_apart(login: Login) -> None:
    initiator = login()
    initiator.send(initiator.command(INQUIRY, expected=255))
    data, answer = initiator.reply(initiator.post()[0], 2, b"sense data", b"partial")
    assert (data.data, data.flags) == (b"partial", 0x80)
    assert (answer.opcode, answer.status, answer.data) == (Opcode.SCSI_RESPONSE, 2, b"\0\x0asense data")
