"""REPORT TIMESTAMP and SET TIMESTAMP."""

import pytest
from goldherd.scsi.identification import timestamp

REPORT = "a3 0f 00000000 00000100 00 00"


def set_cdb(length: int) -> str:
    return f"a4 0f 00000000 {length:08x} 00 00"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The server's clock in milliseconds."""
    now = [1_700_000_000_000]
    monkeypatch.setattr(timestamp, "_milliseconds", lambda: now[0])
    return now


def test_clock_is_the_servers_at_first(a, clock: list[int]) -> None:
    assert a.good(REPORT).hex() == "000a0300" + f"{clock[0]:012x}" + "0000"


def test_what_was_set_counts_on(a, b, clock: list[int]) -> None:
    a.good(set_cdb(12), bytes(4) + (5000).to_bytes(6) + bytes(2))
    clock[0] += 250
    assert b.sense("00 00 00 00 00 00") == "06/2a/10"
    for initiator in (a, b):
        assert initiator.good(REPORT).hex() == "000a0200" + f"{5250:012x}" + "0000"


def test_clock_wraps_at_48_bits(a, clock: list[int]) -> None:
    a.good(set_cdb(12), bytes(4) + b"\xff" * 6 + bytes(2))
    clock[0] += 1
    assert a.good(REPORT)[4:10] == bytes(6)


def test_empty_list_sets_nothing(a, clock: list[int]) -> None:
    a.good(set_cdb(0))
    assert a.good(REPORT)[2] == 0x03


@pytest.mark.parametrize(("length", "data"), [(1, bytes(1)), (11, bytes(11)), (12, bytes(11))])
def test_short_list(a, length: int, data: bytes) -> None:
    assert a.sense(set_cdb(length), data) == "05/1a/00"
    assert a.good(REPORT)[2] == 0x03


def test_other_service_actions_do_not_exist(a) -> None:
    assert a.sense("a4 0a 00000000 00000000 00 00") == "05/24/00"
    assert a.sense("a3 0e 00000000 00000000 00 00") == "05/24/00"
