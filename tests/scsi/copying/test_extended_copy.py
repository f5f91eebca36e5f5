"""EXTENDED COPY and RECEIVE COPY RESULTS."""

import pytest
from goldherd.errors import ImageError
from goldherd.scsi.execute import execute
from goldherd.scsi.sam import Status
from goldherd.scsi.state.device import LogicalUnit

from tests.scsi.conftest import Initiator
from tests.scsi.reservations.test_persistent import EA, holds

A, B = b"\xaa" * 512, b"\xbb" * 512


def cscd(unit: LogicalUnit, *, eui: bool = False, kind: int = 0xE4) -> bytes:
    value = unit.eui64 if eui else unit.naa
    descriptor = bytes([kind, 0, 0, 0, 0x01, 2 if eui else 3, 0, len(value)]) + value.ljust(20, b"\x00")
    return descriptor + b"\x00" + unit.block_size.to_bytes(3)


def segment(
    source: int,
    destination: int,
    blocks: int,
    source_lba: int,
    destination_lba: int,
    flags: int = 0,
    kind: int = 2,
) -> bytes:
    return (
        bytes([kind, flags, 0, 0x18])
        + source.to_bytes(2)
        + destination.to_bytes(2)
        + bytes(2)
        + blocks.to_bytes(2)
        + source_lba.to_bytes(8)
        + destination_lba.to_bytes(8)
    )


def copy(cscds: list[bytes], segments: list[bytes], list_id: int = 1, inline: int = 0) -> tuple[str, bytes]:
    one, two = b"".join(cscds), b"".join(segments)
    data = bytes([list_id, 0]) + len(one).to_bytes(2) + bytes(4) + len(two).to_bytes(4) + inline.to_bytes(4) + one + two
    return f"83 00 0000000000000000 {len(data):08x} 00 00", data


@pytest.fixture
def other(make_unit) -> LogicalUnit:
    return make_unit(1)


@pytest.mark.parametrize("eui", [False, True])
def test_copies_between_units(unit, other, a, eui: bool) -> None:
    unit.medium.image.write(5 * 512, memoryview(A + B))
    a.good(*copy([cscd(unit, eui=eui), cscd(other, eui=eui)], [segment(0, 1, 2, 5, 9)]))
    assert other.medium.image.read(8 * 512, 4 * 512) == bytes(512) + A + B + bytes(512)


def test_copies_several_segments_in_order(unit, a) -> None:
    unit.medium.image.write(0, memoryview(A))
    a.good(*copy([cscd(unit)], [segment(0, 0, 1, 0, 1), segment(0, 0, 1, 1, 2)]))
    assert unit.medium.image.read(0, 2048) == A * 3 + bytes(512)


def test_copies_more_than_one_step(unit, other, a) -> None:
    unit.medium.image.write(0, memoryview(A * 4096))
    a.good(*copy([cscd(unit), cscd(other)], [segment(0, 1, 4096, 0, 0)]))
    assert other.medium.image.read(0, 4096 * 512) == A * 4096


@pytest.mark.parametrize(("flags", "blocks"), [(0, 8), (2, 1)])
def test_units_of_different_block_sizes(unit, make_unit, a, flags: int, blocks: int) -> None:
    large = make_unit(1, block_size=4096)
    unit.medium.image.write(0, memoryview(A * 8))
    a.good(*copy([cscd(unit), cscd(large)], [segment(0, 1, blocks, 0, 1, flags)]))
    assert large.medium.image.read(4096, 4096) == A * 8
    assert a.sense(*copy([cscd(unit), cscd(large)], [segment(0, 1, 7, 0, 1)])) == "0a/00/00"


def test_empty_list_is_good(a) -> None:
    a.good("83")


def test_empty_copy_is_good(unit, a) -> None:
    a.good(*copy([], []))
    a.good(*copy([cscd(unit)], [segment(0, 0, 0, 0, 0)]))


@pytest.mark.parametrize(
    ("make", "sense"),
    [
        (lambda unit: copy([cscd(unit, kind=0xE0)], []), "05/26/07"),
        (lambda unit: copy([cscd(unit)], [segment(0, 0, 1, 0, 1, kind=3)]), "05/26/09"),
        (lambda unit: copy([cscd(unit)] * 17, []), "05/26/06"),
        (lambda unit: copy([cscd(unit)], [segment(0, 0, 1, 0, 1)] * 65), "05/26/08"),
        (lambda unit: copy([cscd(unit)] * 17, [segment(0, 0, 1, 0, 1)] * 65), "05/1a/00"),
        (lambda unit: copy([cscd(unit)], [segment(0, 1, 1, 0, 1)]), "0a/0d/02"),
        (lambda unit: copy([cscd(unit)[:8] + bytes(24)], [segment(0, 0, 1, 0, 1)]), "0a/0d/02"),
        (lambda unit: copy([cscd(unit)], [segment(0, 0, 2, 4095, 0)]), "0a/00/00"),
        (lambda unit: copy([cscd(unit)], [segment(0, 0, 2, 0, 4095)]), "0a/00/00"),
        (lambda unit: copy([cscd(unit)], [segment(0, 0, 1, (1 << 64) - 1, 0)]), "0a/00/00"),
        (lambda unit: copy([cscd(unit)], [], inline=8), "05/26/0b"),
        (lambda unit: copy([cscd(unit)[:31]], []), "05/1a/00"),
        (lambda unit: copy([cscd(unit)], [segment(0, 0, 1, 0, 1)[:27]]), "05/1a/00"),
        (lambda unit: copy([cscd(unit)], [b"\x02\x00"]), "05/1a/00"),
        (lambda _: ("83 00 0000000000000000 0000000f 00 00", bytes(15)), "05/1a/00"),
        (lambda _: ("83 00 0000000000000000 00000020 00 00", bytes(16)), "05/1a/00"),
        (
            lambda _: ("83 00 0000000000000000 00000010 00 00", bytes(2) + b"\x00\x20" + bytes(12)),
            "05/1a/00",
        ),
    ],
)
def test_refused(unit, a, make, sense: str) -> None:
    assert a.sense(*make(unit)) == sense
    assert unit.medium.image.read(0, 4096 * 512) == bytes(4096 * 512)


def test_write_protected_destination(unit, other, a) -> None:
    other.read_only = True
    assert a.sense(*copy([cscd(unit), cscd(other)], [segment(0, 1, 1, 0, 0)])) == "07/27/00"
    a.good(*copy([cscd(unit), cscd(other)], [segment(1, 0, 1, 0, 0)]))


def test_reservations_of_both_units_count(unit, other, a) -> None:
    stranger = Initiator(other, "stranger").login()
    holds(stranger, 1, EA)
    for direction in ((0, 1), (1, 0)):
        assert a.conflicts(*copy([cscd(unit), cscd(other)], [segment(*direction, 1, 0, 0)]))
    assert not a.conflicts(*copy([cscd(unit), cscd(other)], [segment(0, 0, 1, 0, 1)]))


# --- RECEIVE COPY RESULTS ---


def test_copy_status(unit, a, b) -> None:
    a.good(*copy([cscd(unit)], [segment(0, 0, 4, 0, 8), segment(0, 0, 4, 0, 16)], list_id=0x21))
    assert a.good("84 00 21 00000000000000 00000100 00 00").hex() == "000000080100020100000004"
    assert a.good("84 04 21 00000000000000 00000100 00 00").hex() == "00000000"
    assert b.sense("84 00 21 00000000000000 00000100 00 00") == "05/24/00"
    assert a.sense("84 00 22 00000000000000 00000100 00 00") == "05/24/00"


def test_status_of_a_copy_that_failed(unit, a, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ImageError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(type(unit.medium.image), "write", fail)
        assert a.sense(*copy([cscd(unit)], [segment(0, 0, 4, 0, 8)], list_id=3)) == "0a/00/00"
    assert a.good("84 00 03 00000000000000 00000100 00 00").hex() == "000000080200000100000000"
    details = a.good("84 04 03 00000000000000 00000100 00 00")
    assert int.from_bytes(details[0:4]) == len(details) - 4
    assert details[56:60].hex() == "02000012"
    assert details[60:].hex() == "70000a000000000a00000000000000000000"


def test_aborted_copy_is_remembered(unit, a) -> None:
    cdb, data = copy([cscd(unit)], [segment(0, 0, 4, 0, 8)], list_id=3)
    assert execute(a.unit, a.nexus, bytes.fromhex(cdb), data, aborted=lambda: True).status == Status.TASK_ABORTED
    assert a.good("84 00 03 00000000000000 00000100 00 00")[4] == 0x02


def test_results_are_bounded(unit, a) -> None:
    for list_id in range(20):
        a.good(*copy([cscd(unit)], [], list_id=list_id))
    assert list(a.nexus.copy_results) == list(range(4, 20))


def test_operating_parameters(a) -> None:
    data = a.good("84 03 00 00000000000000 00000100 00 00")
    assert int.from_bytes(data[0:4]) == len(data) - 4 == 42
    assert data[8:16].hex() == "00100040" + (16 * 32 + 64 * 28).to_bytes(4).hex()
    assert data[43:].hex() == "0202e4"
