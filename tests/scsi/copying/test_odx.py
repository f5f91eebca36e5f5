"""POPULATE TOKEN, WRITE USING TOKEN and the commands that tell of them: offloaded copies."""

import threading

import pytest
from goldherd import limits
from goldherd.errors import ImageError, StorageFullError
from goldherd.scsi.call import Reply
from goldherd.scsi.execute import execute
from goldherd.scsi.sam import Status
from goldherd.scsi.state.device import Target

from tests.scsi.conftest import CountingImage, HookedImage, Initiator, triple
from tests.scsi.reservations.test_persistent import EA, WE, holds
from tests.support import odx
from tests.support.odx import ZERO_TOKEN, cdb, information, populate, receive, write_using

A, B, C = b"\xaa" * 512, b"\xbb" * 512, b"\xcc" * 512
PT, WUT, RRTI, STATUS, ABORT = 0x10, 0x11, 0x07, 0x05, 0x1C
CANCELLED = "05/23/08"


def make(initiator: Initiator, ranges: list[tuple[int, int]], list_id: int = 1, **options: int) -> bytes:
    """The token of some ranges."""
    data = populate(ranges, **options)
    initiator.good(cdb(PT, list_id, len(data)), data)
    told = information(initiator.good(receive(RRTI, list_id)))
    assert (told.action, told.progress, told.status) == (PT, 1, 0)
    assert told.blocks == sum(count for _, count in ranges)
    return told.token


def use(initiator: Initiator, token: bytes, ranges: list[tuple[int, int]], list_id: int = 2, **options: int) -> Reply:
    """WRITE USING TOKEN."""
    data = write_using(token, ranges, **options)
    return initiator.send(cdb(WUT, list_id, len(data)), data)


def used(initiator: Initiator, token: bytes, ranges: list[tuple[int, int]], **options: int) -> str:
    """The same; what sense came of it, nothing when it was GOOD."""
    reply = use(initiator, token, ranges, **options)
    assert (reply.status == Status.CHECK_CONDITION) == bool(reply.sense)
    return triple(reply.sense) if reply.sense else ""


def write(lba: int) -> tuple[str, bytes]:
    """WRITE(10) of one block."""
    return f"2a 00 {lba:08x} 00 0001 00", C


# --- copying ---


def test_copies_within_a_unit(filled, a) -> None:
    token = make(a, [(100, 8)])
    assert len(token) == 512
    assert used(a, token, [(200, 8)]) == ""
    assert filled.medium.image.read(199 * 512, 10 * 512) == bytes(512) + A * 4 + B * 4 + bytes(512)
    told = information(a.good(receive(RRTI, 2)))
    assert told == (WUT, 1, 0xFFFFFFFE, 0, b"", 8, b"")


def test_copies_between_units_and_by_another_initiator(filled, make_unit, a, initiator_on) -> None:
    other = make_unit(1)
    assert used(initiator_on(other), make(a, [(100, 8)]), [(0, 8)]) == ""
    assert other.medium.image.read(0, 8 * 512) == A * 4 + B * 4


def test_ranges_keep_their_order(filled, a) -> None:
    """The token's ranges one after the other, onto the destination's one after the other (SBC-3 4.28.1)."""
    token = make(a, [(104, 2), (100, 1), (106, 1)])
    assert used(a, token, [(301, 1), (300, 1), (310, 2)]) == ""
    assert filled.medium.image.read(300 * 512, 2 * 512) == B + B
    assert filled.medium.image.read(310 * 512, 2 * 512) == A + B


def test_offset_into_rod_counts_blocks_of_the_destination(filled, a) -> None:
    token = make(a, [(102, 4)])
    assert used(a, token, [(200, 2)], offset=1) == ""
    assert filled.medium.image.read(200 * 512, 2 * 512) == A + B
    assert used(a, token, [(200, 1)], offset=4) == "05/26/00"
    assert used(a, token, [(200, 1)], offset=(1 << 64) - 1) == "05/26/00"


def test_more_than_one_step(unit, a) -> None:
    unit.medium.image.write(0, memoryview(A * 1500 + B * 500))
    assert used(a, make(a, [(0, 2000)]), [(2048, 2000)]) == ""
    assert unit.medium.image.read(2048 * 512, 2000 * 512) == A * 1500 + B * 500


def test_units_of_different_block_sizes(filled, make_unit, a, initiator_on) -> None:
    """The last block of the destination is filled up with zeros when the token ends inside it (SBC-3 5.59.2)."""
    large = initiator_on(make_unit(1, block_size=4096))
    large.unit.medium.image.write(0, memoryview(C * 32))
    assert used(large, make(a, [(100, 8)]), [(0, 1)]) == ""
    assert large.unit.medium.image.read(0, 4096) == A * 4 + B * 4
    filled.medium.image.write(108 * 512, memoryview(C * 2))
    token = make(a, [(100, 10)])
    assert used(large, token, [(0, 2)]) == ""
    assert large.unit.medium.image.read(0, 2 * 4096) == A * 4 + B * 4 + C * 2 + bytes(6 * 512)
    small = make(large, [(2, 1)])
    assert used(a, small, [(200, 8)]) == ""
    assert filled.medium.image.read(200 * 512, 4096) == C * 8


def test_less_in_the_token_than_asked_for(filled, a) -> None:
    """What is there is copied; the residual is told (SBC-3 4.28.2)."""
    reply = use(a, make(a, [(100, 4)]), [(200, 3), (210, 5)])
    assert triple(reply.sense) == "0a/0d/04"
    assert reply.sense[0] == 0xF0
    assert int.from_bytes(reply.sense[3:7]) == 4
    assert filled.medium.image.read(200 * 512, 12 * 512) == A * 3 + bytes(7 * 512) + A + bytes(512)
    told = information(a.good(receive(RRTI, 2)))
    assert (told.progress, told.status, told.blocks) == (3, 2, 4)
    assert triple(told.sense) == "0a/0d/04"


def test_zero_token_frees_on_thin_units(filled, image: CountingImage, a) -> None:
    assert used(a, ZERO_TOKEN, [(101, 2), (106, 1)]) == ""
    assert image.discards == [(101 * 512, 1024), (106 * 512, 512)]
    assert filled.medium.image.read(100 * 512, 8 * 512) == A + bytes(1024) + A + B * 2 + bytes(512) + B


def test_zero_token_writes_on_fully_provisioned_units(make_unit, initiator_on) -> None:
    initiator = initiator_on(make_unit(1, thin=False))
    initiator.unit.medium.image.write(0, memoryview(A * 4))
    assert used(initiator, ZERO_TOKEN, [(1, 2)], offset=77) == ""
    assert initiator.unit.medium.image.read(0, 2048) == A + bytes(1024) + A
    assert initiator.unit.medium.image.discards == []


def test_write_cache_off_makes_it_durable(filled, image: CountingImage, a) -> None:
    a.good("15 10 00 00 18 00", bytes.fromhex("000000000812" + 18 * "00"))
    token = make(a, [(100, 1)])
    before = image.flushes
    assert used(a, token, [(200, 1)]) == ""
    assert image.flushes == before + 1


def test_ranges_of_no_blocks_do_nothing(filled, a) -> None:
    assert make(a, [(100, 0), (4096, 0)]) == b""
    token = make(a, [(100, 0), (101, 1)])
    assert used(a, token, [(9, 0), (200, 1), (4096, 0)]) == ""
    assert filled.medium.image.read(200 * 512, 512) == A


def test_empty_list_is_good_and_begins_nothing(a) -> None:
    a.good(cdb(PT, 1, 0))
    a.good(cdb(WUT, 1, 0))
    assert a.sense(receive(RRTI, 1)) == "05/24/00"


# --- lists that are refused ---


@pytest.mark.parametrize(
    ("data", "sense"),
    [
        (populate([(0, 1)])[:15], "05/1a/00"),
        (b"\x00", "05/1a/00"),
        (b"\x00\x1d" + populate([(0, 1)])[2:], "05/26/00"),
        (bytes(2) + populate([(0, 1)])[2:], "05/26/00"),
        (populate([(0, 1)], timeout=limits.ROD_INACTIVITY_SECONDS_MAX + 1), "05/26/00"),
        (populate([(0, 1)], flags=2, kind=0x00010000), "05/26/00"),
        (populate([(0, 1)], flags=2, kind=0x00800002), "05/26/00"),
        (populate([(0, 1)], flags=2, kind=0xFFFF0001), "05/26/00"),
        (populate([(0, 1)])[:14] + b"\x00\x0f" + bytes(16), "05/26/00"),
        (populate([(0, 1)])[:14] + bytes(18), "05/26/00"),
        (populate([(n, 1) for n in range(65)]), "05/26/08"),
        (populate([(10, 5), (14, 1)]), "05/26/00"),
        (populate([(10, 5), (0, 11)]), "05/26/00"),
        (populate([(10, 1), (10, 1)]), "05/26/00"),
        (populate([(4096, 1)]), "05/21/00"),
        (populate([(4095, 2)]), "05/21/00"),
        (populate([(4097, 0)]), "05/21/00"),
        (populate([((1 << 64) - 1, 2)]), "05/21/00"),
        (populate([(0, 0xFFFFFFFF)]), "05/21/00"),
    ],
)
def test_populate_token_refused(target: Target, a, data: bytes, sense: str) -> None:
    assert a.sense(cdb(PT, 1, len(data)), data) == sense
    assert len(target.rods) == 0
    assert a.sense(receive(RRTI, 1)) == "05/24/00"


def test_populate_token_larger_than_allowed(target: Target, make_unit, initiator_on, monkeypatch) -> None:
    monkeypatch.setattr(limits, "ROD_BYTES_MAX", 16 * 512)
    initiator = initiator_on(make_unit(1))
    data = populate([(0, 8), (100, 9)])
    assert initiator.sense(cdb(PT, 1, len(data)), data) == "05/26/00"
    assert len(make(initiator, [(0, 8), (100, 8)])) == 512


@pytest.mark.parametrize("kind", [0x00800000, 0x00800001, 0x0080FFFF])
def test_point_in_time_types_give_a_change_vulnerable_token(filled, a, kind: int) -> None:
    assert make(a, [(100, 1)], flags=2, kind=kind)[0:8].hex() == "00800001000001f8"


def test_rod_type_is_ignored_without_rtv(filled, a) -> None:
    assert make(a, [(100, 1)], kind=0x12345678)[0:4].hex() == "00800001"


@pytest.mark.parametrize(
    ("change", "sense"),
    [
        (lambda data: data[:535], "05/1a/00"),
        (lambda data: data[:1], "05/1a/00"),
        (lambda data: b"\x02\x25" + data[2:], "05/26/00"),
        (lambda data: b"\x02\x27" + data[2:], "05/26/00"),
        (lambda data: b"\x02\x16" + data[2:534] + bytes(18), "05/26/00"),
        (lambda data: b"\x02\x25" + data[2:534] + b"\x00\x0f" + data[536:], "05/26/00"),
        (lambda data: data[:22] + b"\x01\xf7" + data[24:], "05/23/0a"),
        (lambda data: data[:16] + b"\x00\x01\x00\x00" + data[20:], "05/23/01"),
        (lambda data: data[:16] + b"\xff\xff\x00\x02" + data[20:], "05/23/01"),
        (lambda data: data[:16] + b"\xff\xff\xff\xff" + data[20:], "05/23/01"),
        (lambda data: data[:16] + ZERO_TOKEN[:6] + b"\x01\xf7" + data[24:], "05/23/0a"),
        (lambda data: data[:24] + bytes(8) + data[32:], "05/23/04"),
        (lambda data: data[:150] + bytes([data[150] ^ 1]) + data[151:], "05/23/02"),
        (lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], "05/23/05"),
        (lambda data: data[:300] + bytes([data[300] ^ 1]) + data[301:], "05/23/05"),
        (lambda data: data[:527] + bytes([data[527] ^ 1]) + data[528:], "05/23/05"),
    ],
)
def test_write_using_token_refused(filled, a, change, sense: str) -> None:
    data = change(write_using(make(a, [(100, 8)]), [(200, 8)]))
    assert a.sense(cdb(WUT, 2, len(data)), data) == sense
    assert filled.medium.image.read(200 * 512, 8 * 512) == bytes(8 * 512)
    assert a.sense(receive(RRTI, 2)) == "05/24/00"


@pytest.mark.parametrize(
    ("ranges", "sense"),
    [
        ([(200, 4), (203, 1)], "05/26/00"),
        ([(4095, 2)], "05/21/00"),
        ([(4096, 1)], "05/21/00"),
        ([((1 << 64) - 1, 1)], "05/21/00"),
        ([(n, 1) for n in range(65)], "05/26/08"),
    ],
)
def test_destination_ranges_refused(filled, a, ranges: list[tuple[int, int]], sense: str) -> None:
    before = filled.medium.image.read(0, 4096 * 512)
    assert used(a, make(a, [(100, 8)]), ranges) == sense
    assert used(a, ZERO_TOKEN, ranges) == sense
    assert filled.medium.image.read(0, 4096 * 512) == before


@pytest.mark.parametrize("action", [PT, WUT])
def test_list_of_every_wrong_length(filled, a, action: int) -> None:
    """Whatever is missing at the end, the answer is one that the standard knows, and nothing is written."""
    whole = populate([(100, 1), (104, 1)]) if action == PT else write_using(make(a, [(100, 8)]), [(200, 1), (204, 1)])
    for length in range(1, len(whole)):
        reply = a.send(cdb(action, 9, length), whole[:length])
        assert reply.status == Status.GOOD or triple(reply.sense) in ("05/1a/00", "05/26/00"), length
        reply = a.send(cdb(action, 10, len(whole)), whole[:length])
        assert triple(reply.sense) == "05/1a/00", length
    assert filled.medium.image.read(204 * 512, 512) == bytes(512)
    assert a.sense(cdb(action, 9, 65537), bytes(65537)) == "05/1a/00"


def test_ranges_that_the_list_cuts_are_ignored(filled, a) -> None:
    data = populate([(100, 1), (4000, 1)])[:-1]
    a.good(cdb(PT, 1, len(data)), data)
    assert information(a.good(receive(RRTI, 1))).blocks == 1


def test_write_protected_destination(filled, a) -> None:
    token = make(a, [(100, 8)])
    filled.read_only = True
    assert used(a, token, [(200, 8)]) == "07/27/00"
    assert used(a, ZERO_TOKEN, [(200, 8)]) == "07/27/00"
    make(a, [(100, 8)])


def test_reservations(filled, a, b) -> None:
    """POPULATE TOKEN is a read, WRITE USING TOKEN a write (SPC-4 table 63)."""
    token = make(b, [(100, 8)])
    holds(a, 1, WE)
    assert not b.conflicts(cdb(PT, 1, 32), populate([(100, 1)]))
    assert use(b, token, [(200, 8)]).status == Status.RESERVATION_CONFLICT
    assert b.conflicts(receive(RRTI, 1))
    assert not a.conflicts(receive(RRTI, 1).replace("84 07 00000001", "84 03 00000000"))


def test_populate_token_conflicts_with_exclusive_access(filled, a, b) -> None:
    holds(a, 1, EA)
    assert b.conflicts(cdb(PT, 1, 32), populate([(100, 1)]))
    make(a, [(100, 1)])


# --- what is told of an operation ---


def test_results_belong_to_the_nexus(filled, a, b) -> None:
    make(a, [(100, 1)], list_id=7)
    assert b.sense(receive(RRTI, 7)) == "05/24/00"
    assert b.sense(receive(STATUS, 7)) == "05/24/00"
    assert a.sense(receive(RRTI, 8)) == "05/24/00"


def test_copy_status_is_the_header_alone(filled, a) -> None:
    make(a, [(100, 3)], list_id=0xFFFFFFFF)
    data = a.good(receive(STATUS, 0xFFFFFFFF))
    assert data.hex() == "0000001c10010000fffffffe000000f100000000000000030000000000000000"


def test_rod_token_information_layout(filled, a) -> None:
    """The offsets of SBC-3 table 102, as Windows reads them."""
    token = make(a, [(100, 3)])
    data = a.good(receive(RRTI, 1))
    assert int.from_bytes(data[0:4]) == 546
    assert data[32:36] == (514).to_bytes(4)
    assert data[36:38] == bytes(2)
    assert data[38:] == token
    assert a.good(receive(RRTI, 1, 40)) == data[:40]


def test_allocation_length_0_forgets_the_token(filled, a) -> None:
    make(a, [(100, 3)])
    assert a.good(receive(RRTI, 1, 0)) == b""
    assert information(a.good(receive(RRTI, 1))).token == b""


def test_list_identifier_may_be_used_again(filled, a) -> None:
    first = make(a, [(100, 1)], list_id=1)
    assert make(a, [(100, 1)], list_id=1) != first
    assert used(a, first, [(200, 1)], list_id=1) == ""
    assert information(a.good(receive(RRTI, 1))).action == WUT


@pytest.mark.parametrize(
    ("error", "sense"),
    [
        (ImageError("gone"), "03/0c/00"),
        (StorageFullError("full"), "07/27/07"),
        (OSError(5, "gone"), "03/0c/00"),
    ],
)
def test_disk_that_fails(filled, a, monkeypatch: pytest.MonkeyPatch, error: Exception, sense: str) -> None:
    def fail(*_: object) -> None:
        raise error

    token = make(a, [(100, 8)])
    with monkeypatch.context() as patch:
        patch.setattr(CountingImage, "write", fail)
        assert used(a, token, [(200, 8)]) == sense
    told = information(a.good(receive(RRTI, 2)))
    assert (told.progress, told.status, triple(told.sense), told.blocks) == (2, 2, sense, 0)


def test_aborted_copy_is_terminated(filled, a) -> None:
    data = write_using(make(a, [(100, 8)]), [(200, 8)])
    reply = execute(a.unit, a.nexus, bytes.fromhex(cdb(WUT, 2, len(data))), data, aborted=lambda: True)
    assert reply.status == Status.TASK_ABORTED
    told = information(a.good(receive(RRTI, 2)))
    assert (told.progress, told.status, told.sense, told.blocks) == (0x60, Status.TASK_ABORTED, b"", 0)


# --- IMMED, and COPY OPERATION ABORT ---


def test_populate_token_with_immed_is_done_at_once(filled, a) -> None:
    assert used(a, make(a, [(100, 8)], flags=1), [(200, 8)]) == ""


def test_copy_in_the_background(filled, a) -> None:
    reply = use(a, make(a, [(100, 8)]), [(200, 8)], flags=1)
    assert reply.status == Status.GOOD
    assert reply.after is not None
    told = information(a.good(receive(RRTI, 2)))
    assert (told.progress, told.delay, told.blocks) == (0x12, 100, 0)
    data = write_using(ZERO_TOKEN, [(200, 8)])
    assert a.sense(cdb(WUT, 2, len(data)), data) == "05/00/16"
    assert a.sense(cdb(PT, 2, 32), populate([(0, 1)])) == "05/00/16"
    reply.after()
    told = information(a.good(receive(RRTI, 2)))
    assert (told.progress, told.status, told.blocks) == (1, 0, 8)
    assert filled.medium.image.read(200 * 512, 8 * 512) == A * 4 + B * 4


def test_error_in_the_background_is_told_on_request(filled, a) -> None:
    token = make(a, [(100, 8)])
    reply = use(a, token, [(200, 9)], flags=1)
    assert reply.after is not None
    reply.after()
    told = information(a.good(receive(RRTI, 2)))
    assert (told.progress, told.status, triple(told.sense), told.blocks) == (3, 2, "0a/0d/04", 8)
    assert a.attention() == ""
    reply = use(a, token, [(200, 8)], flags=1)
    a.good(*write(101))
    assert reply.after is not None
    reply.after()
    assert triple(information(a.good(receive(RRTI, 2))).sense) == CANCELLED


def test_list_is_checked_before_the_background_begins(filled, a) -> None:
    assert used(a, make(a, [(100, 8)]), [(4096, 8)], flags=1) == "05/21/00"


@pytest.mark.parametrize("end", ["abort", "reset", "logout", "sanitize"])
def test_what_ends_a_copy_in_the_background(filled, target: Target, a, b, end: str) -> None:
    """One that no thread has begun with writes nothing at all, and its token is free again."""
    reply = use(a, make(a, [(100, 8)]), [(200, 8)], flags=1)
    assert reply.after is not None
    if end == "abort":
        a.good(receive(ABORT, 2).replace("84", "83", 1).replace("00001000", "00000000"))
        assert information(a.good(receive(RRTI, 2))).progress == 0x60
    elif end == "reset":
        filled.reset()
    elif end == "logout":
        a.logout()
    else:
        b.good("48 02 00 00 00 00 00 0000 00")
    reply.after()
    assert filled.medium.image.read(200 * 512, 8 * 512) == bytes(8 * 512)
    assert not any(rod.users for rod in target.rods._rods.values())


def test_abort_of_what_is_not_under_way(filled, a) -> None:
    cdb_ = "83 1c {:08x} 000000000000000000 00"
    assert a.sense(cdb_.format(3)) == "05/24/00"
    make(a, [(100, 1)], list_id=3)
    assert a.sense(cdb_.format(3)) == "05/24/00"


def test_abort_waits_for_the_step_that_runs(filled, a) -> None:
    """The copy ends with 0A/2F/02, and COPY OPERATION ABORT answers when nothing can be written any more."""
    token = make(a, [(100, 8)])
    reading, go_on = threading.Event(), threading.Event()
    read, image = filled.medium.image.read, filled.medium.image

    def slow(offset: int, length: int) -> bytes:
        reading.set()
        assert go_on.wait(20)
        return read(offset, length)

    filled.medium.image = HookedImage(image, slow)
    ended: dict[str, Reply] = {}
    copying = threading.Thread(target=lambda: ended.update(copy=use(a, token, [(200, 4), (300, 4)])))
    copying.start()
    assert reading.wait(20)
    assert information(a.good(receive(RRTI, 2))).progress == 0x11
    aborting = threading.Thread(target=lambda: ended.update(abort=a.send("83 1c 00000002 000000000000000000 00")))
    aborting.start()
    aborting.join(0.3)
    assert aborting.is_alive()
    go_on.set()
    for thread in (copying, aborting):
        thread.join(20)
    filled.medium.image = image
    assert ended["abort"].status == Status.GOOD
    assert triple(ended["copy"].sense) == "0a/2f/02"
    assert image.read(200 * 512, 4 * 512) == A * 4
    assert image.read(300 * 512, 4 * 512) == bytes(4 * 512)
    assert information(a.good(receive(RRTI, 2))).progress == 0x60


def test_more_copies_in_the_background_than_there_are_places(filled, a) -> None:
    token = make(a, [(100, 1)])
    for list_id in range(100, 100 + limits.COPY_OPERATIONS_MAX):
        assert use(a, token, [(200, 1)], list_id=list_id, flags=1).status == Status.GOOD
    assert use(a, token, [(200, 1)], list_id=5).status == Status.TASK_SET_FULL
    data = populate([(0, 1)])
    assert a.send(cdb(PT, 5, len(data)), data).status == Status.TASK_SET_FULL


def test_helpers_make_what_the_standard_says() -> None:
    """The tests' own lists have the lengths of SBC-3 tables 72 and 159."""
    assert len(populate([(0, 1)])) == 32
    assert populate([(0, 1)])[0:2].hex() == "001e"
    assert len(write_using(ZERO_TOKEN, [(0, 1)])) == 552
    assert write_using(ZERO_TOKEN, [(0, 1)])[0:2].hex() == "0226"
    assert odx.ranges_of([(1, 2)]).hex() == "00000000000000010000000200000000"
