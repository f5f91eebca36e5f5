"""RESERVE and RELEASE, alone and beside persistent registrations."""

import pytest

RESERVES = [("16 00 00 00 00 00", "17 00 00 00 00 00"), ("56", "57")]
ALLOWED = [
    "12 00 00 00ff 00",
    "03 00 00 00 ff 00",
    "a0 00 00 000000 00000100 00 00",
    "5e 00 00 00000000 0100 00",
    "4d 00 00 00 000000 00ff 00",
    "25",
    "9e 10 0000000000000000 00000020 00 00",
    "1e 00 00 00 00 00",
    "17",
    "57",
]
CONFLICTING = [
    "00",
    "28 00 00000000 00 0001 00",
    "2a 00 00000000 00 0000 00",
    "1a 00 3f 00 ff 00",
    "1e 00 00 00 01 00",
    "35",
    "1b 00 00 00 01 00",
    "16",
    "56",
    "8f 00",
]


@pytest.mark.parametrize(("reserve", "release"), RESERVES)
def test_reserve_and_release(a, b, reserve: str, release: str) -> None:
    a.good(reserve)
    a.good(reserve)
    assert b.conflicts(reserve)
    a.good(release)
    assert not b.conflicts(reserve)


@pytest.mark.parametrize("cdb", ALLOWED)
def test_allowed_beside_another_s_reserve(a, b, cdb: str) -> None:
    a.good("16")
    assert not b.conflicts(cdb)


@pytest.mark.parametrize("cdb", CONFLICTING)
def test_conflicts_with_another_s_reserve(a, b, cdb: str) -> None:
    a.good("16")
    assert b.conflicts(cdb)
    a.good(cdb)


def test_persistent_reserve_out_conflicts_with_another_s_reserve(a, b) -> None:
    a.good("16")
    assert b.conflicts("5f 00 00 00 00 00000018 00", bytes(24))
    assert not a.conflicts("5f 00 00 00 00 00000018 00", bytes(24))


def test_release_by_another_has_no_effect(a, b) -> None:
    a.good("16")
    b.good("17")
    assert b.conflicts("00")


def test_ends_with_the_nexus(a, b) -> None:
    a.good("16")
    a.logout()
    assert not b.conflicts("00")


@pytest.mark.parametrize("cdb", ["16 01", "16 10", "56 01", "56 10", "56 02", "17 01"])
def test_extents_and_third_parties_are_refused(a, cdb: str) -> None:
    assert a.sense(cdb) == "05/24/00"


def test_beside_registrations_only_a_registrant_is_told_good(unit, a, b) -> None:
    a.good("5f 00 00 00 00 00000018 00", bytes(8) + (1).to_bytes(8) + bytes(8))
    a.good("16")
    assert unit.reserved_by is None
    assert b.conflicts("16")
