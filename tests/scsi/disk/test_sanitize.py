"""SANITIZE."""

import threading

import pytest
from goldherd.errors import ImageError
from goldherd.scsi.call import Reply
from goldherd.scsi.execute import execute
from goldherd.scsi.sam import Status

from tests.scsi.conftest import triple
from tests.scsi.copying.test_extended_copy import copy, cscd, segment


def overwrite(pattern: bytes, count: int = 1, invert: bool = False, flags: int = 0) -> tuple[str, bytes]:
    data = bytes([count | (0x80 if invert else 0), 0]) + len(pattern).to_bytes(2) + pattern
    return f"48 {0x01 | flags:02x} 0000000000 {len(data):04x} 00", data


@pytest.fixture(autouse=True)
def full(unit) -> None:
    unit.medium.image.write(0, memoryview(b"\xff" * 512 * 4096))


def whole(unit) -> bytes:
    return unit.medium.image.read(0, 4096 * 512)


@pytest.mark.parametrize("length", [1, 4, 512])
def test_overwrite(unit, a, length: int) -> None:
    a.good(*overwrite(b"\xa5" * length))
    assert whole(unit) == b"\xa5" * 512 * 4096
    assert unit.medium.image.flushes == 1


@pytest.mark.parametrize(("count", "byte"), [(1, 0x0F), (2, 0xF0), (3, 0x0F)])
def test_invert_inverts_each_further_pass(unit, a, count: int, byte: int) -> None:
    a.good(*overwrite(b"\x0f", count=count, invert=True))
    assert whole(unit) == bytes([byte]) * 512 * 4096


@pytest.mark.parametrize("cdb", ["48 02", "48 03"])
def test_erase(unit, a, cdb: str) -> None:
    a.good(cdb)
    assert whole(unit) == bytes(512 * 4096)
    assert sum(length for _, length in unit.medium.image.discards) == 4096 * 512


@pytest.mark.parametrize(
    ("cdb", "data"),
    [
        *((f"48 01 0000000000 {length:04x} 00", bytes(length)) for length in (0, 1, 4, 517)),
        overwrite(b"\x00", count=0),
        ("48 01 0000000000 0008 00", bytes([1, 0, 0, 0]) + bytes(4)),
        ("48 01 0000000000 0008 00", bytes([1, 0, 0, 5]) + bytes(4)),
        ("48 02 0000000000 0008 00", b""),
        ("48 03 0000000000 0008 00", b""),
        ("48 1f 0000000000 0008 00", b""),
        ("48 04", b""),
        ("48 42", b""),
        ("48 02 01", b""),
        ("48 02 0000000001", b""),
    ],
)
def test_refused(unit, a, cdb: str, data: bytes) -> None:
    assert a.sense(cdb, data) == "05/24/00"
    assert whole(unit) == b"\xff" * 512 * 4096


def test_write_protected(unit, a) -> None:
    unit.read_only = True
    for cdb in ("48 02", "48 03"):
        assert a.sense(cdb) == "07/27/00"


def test_immediate_answers_first_and_works_afterwards(unit, a, b) -> None:
    reply = a.send("48 82")
    assert reply.status == Status.GOOD
    assert whole(unit) == b"\xff" * 512 * 4096
    for cdb in ("00", "28 00 00000000 00 0001 00", "1b 00 00 00 01 00", "48 02", "25"):
        assert b.sense(cdb) == "02/04/1b"
    b.good("12 00 00 00ff 00")
    b.good("a0 00 00 000000 00000100 00 00")
    unit.reset()
    assert b.sense("00") == "02/04/1b"
    reply.after()
    b.good("00")
    assert whole(unit) == bytes(512 * 4096)


def test_a_failed_sanitize_stays_until_it_is_repeated_or_ended(unit, a, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ImageError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(type(unit.medium.image), "discard", fail)
        assert a.sense("48 02") == "03/0c/00"
        assert a.sense("00") == "03/31/03"
        a.send("48 82").after()
        assert a.sense("00") == "03/31/03"
    a.good("48 1f")
    a.good("00")
    unit.medium.sanitize_failed = True
    a.good("48 02")
    a.good("00")


@pytest.mark.parametrize("cdb", ["48 02", "48 03"])
def test_erasing_needs_a_thin_unit(make_unit, initiator_on, cdb: str) -> None:
    initiator = initiator_on(make_unit(1, thin=False))
    assert initiator.sense(cdb) == "05/24/00"
    assert initiator.good("12 01 b1 00ff 00")[7] == 0x00


@pytest.mark.parametrize("way", ["WRITE SAME", "EXTENDED COPY"])
def test_long_write_that_is_under_way_leaves_nothing_behind(unit, make_unit, a, b, way: str) -> None:
    """SANITIZE sends other writers away and waits for them: what they would still write comes before it or never."""
    if way == "WRITE SAME":
        cdb, data = "93 00 0000000000000000 00001000 00 00", b"\xaa" * 512
    else:
        source = make_unit(1)
        source.medium.image.write(0, memoryview(b"\xaa" * (4096 * 512)))
        cdb, data = copy([cscd(source), cscd(unit)], [segment(0, 1, 4096, 0, 0)])
    replies: dict[str, Reply] = {}
    sanitizing = threading.Thread(target=lambda: replies.update(sanitize=b.send("48 02 00 00 00 00 00 0000 00")))
    looks = 0

    def aborted() -> bool:
        nonlocal looks
        looks += 1
        if looks == 2:
            sanitizing.start()
            while unit.medium.sanitize_progress is None:
                assert sanitizing.is_alive() or "sanitize" in replies
                if "sanitize" in replies:
                    break
            sanitizing.join(0.5)  # over by now if it waits for nobody
        return False

    replies["write"] = execute(a.unit, a.nexus, bytes.fromhex(cdb).ljust(16, b"\x00"), data, aborted=aborted)
    sanitizing.join(20)
    assert replies["sanitize"].status == Status.GOOD
    assert triple(replies["write"].sense) == "02/04/1b"
    assert unit.medium.image.read(0, 4096 * 512) == bytes(4096 * 512)
