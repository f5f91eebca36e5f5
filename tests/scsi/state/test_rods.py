"""ROD tokens: how long they live, what ends them, and the watch that notices a change of their data."""

import random
import re
from pathlib import Path

import pytest
from goldherd import limits
from goldherd.scsi.commands import TABLE
from goldherd.scsi.fastpath.watch import Watch
from goldherd.scsi.sam import Direction, Need
from goldherd.scsi.state import rods
from goldherd.scsi.state.device import LogicalUnit, Target

from tests.scsi.conftest import CountingImage, HookedImage, Initiator, triple
from tests.scsi.copying.test_extended_copy import copy, cscd, segment
from tests.scsi.copying.test_odx import CANCELLED, PT, RRTI, WUT, A, B, C, make, used, write
from tests.support.odx import ZERO_TOKEN, cdb, information, populate, receive, write_using

EXPIRED, DELETED = "05/23/07", "05/23/09"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of all tokens, set by the test."""
    time = [1000.0]
    monkeypatch.setattr(rods, "now", lambda: time[0])
    return time


PYTHON_WRITES = {
    "WRITE(6)": lambda _, lba: (f"0a {lba:06x} 01 00", C),
    "WRITE(10)": lambda _, lba: write(lba),
    "WRITE(12)": lambda _, lba: (f"aa 00 {lba:08x} 00000001 00 00", C),
    "WRITE(16)": lambda _, lba: (f"8a 00 {lba:016x} 00000001 00 00", C),
    "WRITE AND VERIFY(10)": lambda _, lba: (f"2e 00 {lba:08x} 00 0001 00", C),
    "WRITE AND VERIFY(12)": lambda _, lba: (f"ae 00 {lba:08x} 00000001 00 00", C),
    "WRITE AND VERIFY(16)": lambda _, lba: (f"8e 02 {lba:016x} 00000001 00 00", C),
    "ORWRITE(16)": lambda _, lba: (f"8b 00 {lba:016x} 00000001 00 00", C),
    "COMPARE AND WRITE": lambda unit, lba: (
        f"89 00 {lba:016x} 000000 01 00 00",
        unit.medium.image.read(lba * 512, 512) + C,
    ),
    "WRITE ATOMIC(16)": lambda _, lba: (f"9c 00 {lba:016x} 0000 0001 00 00", C),
    "WRITE SAME(10)": lambda _, lba: (f"41 00 {lba:08x} 00 0001 00", C),
    "WRITE SAME(16)": lambda _, lba: (f"93 00 {lba:016x} 00000001 00 00", C),
    "WRITE SAME(16) UNMAP": lambda _, lba: (f"93 08 {lba:016x} 00000001 00 00", bytes(512)),
    "WRITE SAME(16) NDOB": lambda _, lba: (f"93 01 {lba:016x} 00000001 00 00", b""),
    "UNMAP": lambda _, lba: (
        "42 00 00000000 00 0018 00",
        bytes.fromhex(f"0016 0010 00000000 {lba:016x} 00000001 00000000"),
    ),
    "EXTENDED COPY": lambda unit, lba: copy([cscd(unit)], [segment(0, 0, 1, 900, lba)]),
    "WRITE USING TOKEN": lambda _, lba: (cdb(WUT, 77, 552), write_using(ZERO_TOKEN, [(lba, 1)])),
}
"""How every command that changes blocks writes one block."""


@pytest.mark.parametrize("name", PYTHON_WRITES)
def test_write_into_the_data_ends_the_token(filled, a, b, name: str) -> None:
    """Changed data is never delivered, and a write beside it changes nothing for the token."""
    token = make(a, [(100, 4), (106, 2)])
    for lba in (99, 104, 105, 108):
        b.good(*PYTHON_WRITES[name](filled, lba))
    assert used(a, token, [(200, 6)]) == ""
    assert filled.medium.image.read(200 * 512, 6 * 512) == A * 4 + B * 2
    b.good(*PYTHON_WRITES[name](filled, 107))
    assert used(a, token, [(300, 6)]) == CANCELLED
    assert used(a, token, [(300, 6)]) == CANCELLED
    assert filled.medium.image.read(300 * 512, 6 * 512) == bytes(6 * 512)


@pytest.mark.parametrize(
    ("cdb_", "data"),
    [
        ("48 01 00 00 00 00 00 0005 00", bytes.fromhex("0100000155")),
        ("48 02 00 00 00 00 00 0000 00", b""),
        ("48 03 00 00 00 00 00 0000 00", b""),
    ],
)
def test_sanitize_ends_every_token(filled, a, cdb_: str, data: bytes) -> None:
    token = make(a, [(100, 4)])
    a.good(cdb_, data)
    assert used(a, token, [(200, 4)]) == CANCELLED


def test_every_command_that_writes_is_among_them() -> None:
    """A command that the table says writes blocks must be tried above."""
    writers = {
        line.name
        for line in TABLE
        if line.direction is Direction.OUT and line.medium in (Need.WRITABLE, Need.SANITIZABLE)
    }
    tried = {name.split(" UNMAP")[0].split(" NDOB")[0] for name in PYTHON_WRITES if name != "UNMAP"} | {"UNMAP"}
    assert writers - tried == {"SANITIZE OVERWRITE"}


def test_all_writes_go_through_the_doors_of_the_unit() -> None:
    """In the room of SCSI only Medium.write and discard may change an image, since they mark the watches."""
    room = Path(rods.__file__).parent.parent
    changes = {
        (path.name, match.group(1))
        for path in room.rglob("*.py")
        for match in re.finditer(r"image\.(write|discard)\(", path.read_text())
    }
    assert changes == {("medium.py", "write"), ("medium.py", "discard")}


def test_copy_onto_its_own_source_stops_before_changed_data(unit, a) -> None:
    """The destination overlaps the source: what was overwritten by the copy itself is not read as the old."""
    content = b"".join(n.to_bytes(4) * 128 for n in range(4096))
    unit.medium.image.write(0, memoryview(content))
    assert used(a, make(a, [(0, 3000)]), [(1000, 3000)]) == CANCELLED
    told = information(a.good(receive(RRTI, 2)))
    assert (told.progress, told.status) == (2, 2)
    assert triple(told.sense) == CANCELLED
    assert unit.medium.image.read(1000 * 512, told.blocks * 512) == content[: told.blocks * 512]


def test_read_that_races_with_a_write_is_not_written(filled, a) -> None:
    """The write comes between the reading of the source and the look at the mark."""
    token = make(a, [(100, 8)])
    read = filled.medium.image.read

    def read_and_change(offset: int, length: int) -> bytes:
        filled.medium.write(100 * 512, memoryview(C))
        return read(offset, length)

    image = filled.medium.image
    filled.medium.image = HookedImage(image, read_and_change)
    assert used(a, token, [(200, 8)]) == CANCELLED
    assert image.read(200 * 512, 8 * 512) == bytes(8 * 512)


def test_inactivity_timeout(filled, a, clock: list[float]) -> None:
    token = make(a, [(100, 1)])
    for _ in range(3):
        clock[0] += limits.ROD_INACTIVITY_SECONDS - 1
        assert used(a, token, [(200, 1)]) == ""
    clock[0] += limits.ROD_INACTIVITY_SECONDS
    assert used(a, token, [(200, 1)]) == EXPIRED
    assert filled.medium.watches == ()


def test_inactivity_timeout_that_was_asked_for(filled, a, clock: list[float]) -> None:
    token = make(a, [(100, 1)], timeout=200)
    clock[0] += 199
    assert used(a, token, [(200, 1)]) == ""
    clock[0] += 200
    assert used(a, token, [(200, 1)]) == EXPIRED


def test_lifetime_ends_however_often_it_is_used(filled, a, clock: list[float]) -> None:
    token = make(a, [(100, 1)])
    end = clock[0] + limits.ROD_LIFETIME_SECONDS_MAX
    while clock[0] + 20 < end:
        clock[0] += 20
        assert used(a, token, [(200, 1)]) == ""
    clock[0] = end
    assert used(a, token, [(200, 1)]) == EXPIRED


def test_del_tkn(filled, a) -> None:
    token = make(a, [(100, 1)])
    assert used(a, token, [(200, 1)], flags=2) == ""
    assert used(a, token, [(201, 1)]) == DELETED
    assert used(a, ZERO_TOKEN, [(201, 1)], flags=2) == ""
    assert used(a, ZERO_TOKEN, [(201, 1)]) == ""


def test_token_of_another_target_and_of_another_life(filled, a) -> None:
    token = make(a, [(100, 1)])
    other = Target("iqn.2026-11.io.goldherd:" + "x" * 190)
    elsewhere = Initiator(LogicalUnit(CountingImage(1 << 20), lun=0, target=other, identity="other"), "a").login()
    assert used(elsewhere, token, [(0, 1)]) == "05/23/02"
    assert used(a, make(elsewhere, [(0, 1)]), [(0, 1)]) == "05/23/02"
    twin = LogicalUnit(filled.medium.image, lun=0, target=Target(filled.target.name), identity="node-001")
    again = Initiator(twin, "a")
    assert used(again.login(), token, [(0, 1)]) == "05/23/04"


def test_token_whose_unit_is_not_ready(filled, make_unit, a, initiator_on) -> None:
    other = initiator_on(make_unit(1, removable=True))
    token = make(other, [(0, 1)])
    other.good("1b 00 00 00 02 00")
    assert used(a, token, [(200, 1)]) == "05/23/00"
    other.good("1b 00 00 00 03 00")
    assert used(a, token, [(200, 1)]) == ""


def test_reset_and_logout_leave_tokens_alone(filled, a, b) -> None:
    """A token outlives what asked for it; only the results kept for a nexus go (SPC-4 6.26)."""
    token = make(a, [(100, 1)])
    filled.reset()
    assert a.sense(receive(RRTI, 1)) == "05/24/00"
    a.logout()
    assert used(b, token, [(200, 1)]) == ""


def test_tokens_are_bounded(filled, target: Target, a, b, c) -> None:
    """The creator's longest unused one goes; who has none gets none."""
    tokens = [make(a, [(100, 1)]) for _ in range(limits.ROD_TOKENS_MAX)]
    assert used(a, tokens[0], [(200, 1)]) == ""
    data = populate([(100, 1)])
    assert b.sense(cdb(PT, 5, len(data)), data) == "05/55/0d"
    told = information(b.good(receive(RRTI, 5)))
    assert (told.progress, triple(told.sense), told.token) == (2, "05/55/0d", b"")
    make(a, [(100, 1)])
    assert len(target.rods) == len(filled.medium.watches) == limits.ROD_TOKENS_MAX
    assert used(a, tokens[1], [(200, 1)]) == CANCELLED
    assert used(a, tokens[0], [(200, 1)]) == ""
    c.good(*write(100))
    make(b, [(100, 1)])
    assert len(target.rods) == len(filled.medium.watches) == 1


def test_results_are_bounded(filled, a) -> None:
    for list_id in range(limits.COPY_OPERATIONS_MAX + 5):
        make(a, [(100, 1)], list_id=list_id)
    assert list(a.nexus.operations) == list(range(5, limits.COPY_OPERATIONS_MAX + 5))


def test_tokens_differ_and_tell_nothing(filled, a) -> None:
    """Same ranges, other token; everything but the random part is what the standard puts there."""
    one, other = make(a, [(100, 8)]), make(a, [(100, 8)])
    assert one[8:16] != other[8:16]
    assert one[16:48] == cscd(filled)
    assert int.from_bytes(one[48:64]) == 8 * 512
    assert one[96:104].hex() == "000002000000c000"
    assert one[128:132].hex() == "53a80020"
    assert one[132:].startswith(filled.target.name.encode() + b"\x00")
    assert one[256:] != other[256:]


# --- the watch ---


@pytest.mark.parametrize(
    ("begin", "length", "touched"),
    [
        (0, 512, False),
        (0, 1024, False),
        (0, 1025, True),
        (1024, 1, True),
        (2047, 1, True),
        (2048, 2048, False),
        (4095, 1, False),
        (4096, 1, True),
        (8191, 9, True),
        (8192, 512, False),
        (0, 1 << 40, True),
    ],
)
def test_watch_is_exact_to_the_byte(begin: int, length: int, touched: bool) -> None:
    watch = Watch([(4096, 4096), (1024, 1024)])
    watch.touch(begin, length)
    assert watch.touched is touched
    watch.end()
    assert watch.touched


def test_watch_over_many_ranges_agrees_with_a_search_one_by_one() -> None:
    """Random ranges, random writes: touched exactly if they meet."""
    chance = random.Random(3)
    for _ in range(200):
        bounds = sorted(chance.sample(range(1000), 2 * chance.randrange(1, 40)))
        ranges = [(begin, end - begin) for begin, end in zip(bounds[::2], bounds[1::2], strict=True)]
        chance.shuffle(ranges)
        begin, length = chance.randrange(1000), chance.randrange(1, 30)
        watch = Watch(ranges)
        watch.touch(begin, length)
        assert watch.touched == any(begin < at + size and at < begin + length for at, size in ranges)


def test_watch_needs_ranges() -> None:
    with pytest.raises(ValueError, match="ranges"):
        Watch([])
