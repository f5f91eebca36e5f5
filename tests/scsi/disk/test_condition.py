"""Commands about the unit and its medium, and those about the target."""

import pytest
from goldherd.scsi import sense as codes
from goldherd.scsi.fastpath.unit import NexusFlag

from tests.scsi.conftest import Initiator


@pytest.fixture
def removable(make_unit):
    return make_unit(1, removable=True)


@pytest.fixture
def r(removable) -> Initiator:
    return Initiator(removable, "r").login()


@pytest.fixture
def s(removable) -> Initiator:
    return Initiator(removable, "s").login()


EJECT, LOAD, STOP, START = "1b 00 00 00 02 00", "1b 00 00 00 03 00", "1b 00 00 00 00 00", "1b 00 00 00 01 00"
PREVENT, ALLOW = "1e 00 00 00 01 00", "1e 00 00 00 00 00"
READ = "28 00 00000000 00 0001 00"


# --- REQUEST SENSE ---


def test_request_sense_with_nothing_to_say(a) -> None:
    assert a.good("03 00 00 00 ff 00").hex() == "700000000000000a00000000000000000000"
    assert a.good("03 01 00 00 ff 00").hex() == "7200000000000000"


def test_request_sense_reports_a_unit_attention_and_clears_it(a) -> None:
    a.nexus.attend(codes.CAPACITY_DATA_CHANGED)
    assert a.good("03 00 00 00 ff 00")[12:14].hex() == "2a09"
    assert a.attention() == ""


def test_request_sense_tells_why_the_unit_is_not_ready(r) -> None:
    r.good(EJECT)
    assert r.good("03 00 00 00 ff 00").hex() == "700002000000000a000000003a0200000000"


def test_request_sense_tells_the_progress_of_a_sanitize(unit, a) -> None:
    unit.medium.sanitize_progress = 0.5
    assert a.good("03 00 00 00 ff 00").hex() == "700002000000000a00000000041b00808000"


# --- START STOP UNIT, PREVENT ALLOW ---


def test_stopping_flushes_and_no_more(unit, a) -> None:
    a.good(STOP)
    assert unit.medium.image.flushes == 1
    a.good(READ)
    a.good("1b 00 00 00 04 00")  # NO_FLUSH
    assert unit.medium.image.flushes == 1


def test_power_conditions_are_taken(r) -> None:
    for condition in range(1, 16):
        r.good(f"1b 00 00 00 {condition << 4 | 2:02x} 00")
    r.good(READ)


def test_ejecting_a_fixed_medium_is_ignored(a) -> None:
    a.good(EJECT)
    a.good(READ)


def test_ejected_medium(removable, r, s) -> None:
    r.good(EJECT)
    assert s.nexus.flags == NexusFlag.SLOW_ALL
    for cdb in ("00", READ, "2a 00 00000000 00 0000 00", "25", "9e 10", "35"):
        assert s.sense(cdb) == "02/3a/02"
    s.good("12 00 00 00ff 00")
    s.good(START)
    assert s.sense(READ) == "02/3a/02"


def test_loading_tells_the_others(removable, r, s) -> None:
    r.good(EJECT)
    r.good(LOAD)
    assert s.attention() == "06/28/00"
    assert r.attention() == ""
    assert s.nexus.flags == 0


def test_prevented_removal(r, s) -> None:
    s.good(PREVENT)
    assert r.sense(EJECT) == "05/53/02"
    s.good(ALLOW)
    r.good(EJECT)
    s.good(PREVENT)
    assert r.sense(LOAD) == "05/53/02"


def test_prevention_ends_with_the_nexus(r, s) -> None:
    s.good(PREVENT)
    s.logout()
    r.good(EJECT)


def test_prevention_ends_with_a_reset(removable, r, s) -> None:
    s.good(PREVENT)
    removable.reset()
    r.good(EJECT)


# --- SYNCHRONIZE CACHE and others ---


@pytest.mark.parametrize("cdb", ["35", "35 02", "91", "91 02", "35 00 00000fff 00 0001 00"])
def test_synchronize_cache_reaches_stable_storage(unit, a, cdb: str) -> None:
    a.good(cdb)
    assert unit.medium.image.flushes == 1


def test_pre_fetch(a) -> None:
    a.good("34 02 00000000 00 0010 00")
    a.good("90 00 0000000000000000 00000010 00 00")


@pytest.mark.parametrize(
    ("cdb", "data"),
    [("37 00 1d 00000000 00ff 00", "001d0000"), ("b7 1d 00000000 000000ff 00 00", "001d000000000000")],
)
def test_there_are_no_defects(a, cdb: str, data: str) -> None:
    assert a.good(cdb).hex() == data


def test_self_test_passes(a) -> None:
    a.good("1d 04 00 0000 00")
    assert a.sense("1d 10 00 0004 00", bytes(4)) == "05/26/00"


def test_log_sense_lists_itself(a) -> None:
    assert a.good("4d 00 00 00 000000 00ff 00").hex() == "0000000100"
    assert a.good("4d 00 00 ff 000000 00ff 00").hex() == "40ff0004000000ff"
    assert a.sense("4d 00 0d 00 000000 00ff 00") == "05/24/00"


# --- the target ---


def test_report_luns(target, make_unit, a) -> None:
    make_unit(3)
    make_unit(300)
    data = a.good("a0 00 00 000000 00001000 00 00")
    assert data.hex() == "000000180000000000000000000000000003000000000000412c000000000000"
    assert a.good("a0 00 01 000000 00001000 00 00").hex() == "0000000000000000"
    assert a.sense("a0 00 03 000000 00001000 00 00") == "05/24/00"


def test_report_luns_clears_the_attention_about_them(target, a) -> None:
    target.luns_changed()
    assert a.nexus.attentions == (codes.REPORTED_LUNS_DATA_CHANGED,)
    a.good("a0 00 00 000000 00001000 00 00")
    assert a.attention() == ""


def test_report_target_port_groups(a) -> None:
    assert a.good("a3 0a 00000000 00000100 00 00").hex() == "0000000c000100010000000100000001"
    assert a.good("a3 2a 00000000 00000100 00 00").hex() == "0000001010000000000100010000000100000001"
    assert a.sense("a3 4a 00000000 00000100 00 00") == "05/24/00"


def test_report_supported_task_management_functions(a) -> None:
    assert a.good("a3 0d 00 000000 00000100 00 00").hex() == "da000000"
    assert a.good("a3 0d 80 000000 00000100 00 00").hex() == "da00000c" + 24 * "0"
