"""Unit attentions, flags for the data plane, and what task management does to them."""

import pytest
from goldherd import limits
from goldherd.scsi import sense as codes
from goldherd.scsi.fastpath.unit import NexusFlag
from goldherd.scsi.task_management import clear_task_set, logical_unit_reset, target_reset

from tests.scsi.conftest import Initiator


def test_first_login_after_start_sees_power_on_and_a_later_one_nexus_loss(unit) -> None:
    initiator = Initiator(unit, "x")
    unit.attach(initiator.nexus)
    assert initiator.attention() == "06/29/00"
    assert initiator.attention() == ""
    initiator.logout()
    again = Initiator(unit, "x")
    unit.attach(again.nexus)
    assert again.attention() == "06/29/07"


def test_another_isid_is_another_port(unit) -> None:
    for number in range(3):
        initiator = Initiator(unit, "x", isid=bytes([0, 0, 0, 0, 0, number]))
        unit.attach(initiator.nexus)
        assert initiator.attention() == "06/29/00"


def test_known_ports_are_bounded(unit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KNOWN_PORTS_MAX", 2)
    for name in ("x", "y", "z", "x"):
        initiator = Initiator(unit, name)
        unit.attach(initiator.nexus)
        assert initiator.attention() == "06/29/00"
        initiator.logout()


def test_port_names_are_those_of_the_rfc(unit) -> None:
    nexus = unit.target.nexus("iqn.x", bytes.fromhex("80123456abcd"))
    assert nexus.port == ("iqn.x,i,0x80123456abcd", "iqn.2026-11.io.goldherd:test,t,0x0001")


def test_a_reset_replaces_what_waited(a) -> None:
    a.nexus.attend(codes.CAPACITY_DATA_CHANGED)
    a.nexus.attend(codes.LOGICAL_UNIT_RESET_OCCURRED)
    assert a.nexus.attentions == (codes.LOGICAL_UNIT_RESET_OCCURRED,)


def test_attentions_come_in_order_and_equal_ones_once(a) -> None:
    for sense in (codes.CAPACITY_DATA_CHANGED, codes.MODE_PARAMETERS_CHANGED, codes.CAPACITY_DATA_CHANGED):
        a.nexus.attend(sense)
    assert [a.attention() for _ in range(3)] == ["06/2a/09", "06/2a/01", ""]


def test_attentions_are_bounded(a) -> None:
    for number in range(100):
        a.nexus.attend(codes.MODE_PARAMETERS_CHANGED._replace(ascq=number))
    assert len(a.nexus.attentions) == limits.UNIT_ATTENTIONS_MAX


def test_a_command_that_meets_an_attention_is_not_executed(unit, a) -> None:
    a.nexus.attend(codes.CAPACITY_DATA_CHANGED)
    assert a.sense("2a 00 00000000 00 0001 00", b"\xaa" * 512) == "06/2a/09"
    assert unit.medium.image.read(0, 512) == bytes(512)


# --- flags ---


def test_flags_are_told_when_they_change(a) -> None:
    told: list[int] = []
    a.nexus.on_flags = lambda nexus: told.append(nexus.flags)
    a.nexus.attend(codes.CAPACITY_DATA_CHANGED)
    a.nexus.attend(codes.MODE_PARAMETERS_CHANGED)
    a.attention()
    assert told == [NexusFlag.SLOW_ALL]
    a.attention()
    assert told == [NexusFlag.SLOW_ALL, 0]


def test_flags_under_another_s_reserve(a, b) -> None:
    a.good("16 00 00 00 00 00")
    assert (a.nexus.flags, b.nexus.flags) == (0, NexusFlag.SLOW_ALL)
    a.good("17 00 00 00 00 00")
    assert b.nexus.flags == 0


def test_flags_of_a_sanitize_that_runs(unit, a) -> None:
    unit.medium.sanitize_progress = 0.0
    unit.changed()
    assert a.nexus.flags == NexusFlag.SLOW_ALL


def test_flags_of_a_write_protected_unit(make_unit, initiator_on) -> None:
    assert initiator_on(make_unit(1, read_only=True)).nexus.flags == NexusFlag.SLOW_WRITE


# --- task management ---


def test_logical_unit_reset(unit, a, b) -> None:
    a.good("16 00 00 00 00 00")
    logical_unit_reset(unit, a.nexus)
    assert (a.attention(), b.attention()) == ("06/29/03", "06/29/03")
    assert not b.conflicts("00")


def test_target_reset(target, unit, make_unit, a, initiator_on) -> None:
    other = initiator_on(make_unit(1))
    target_reset(target, a.nexus)
    assert (a.attention(), other.attention()) == ("06/29/02", "06/29/02")


def test_reset_leaves_persistent_reservations(unit, a) -> None:
    a.good("5f 00 00 00 00 00000018 00", bytes(8) + (1).to_bytes(8) + bytes(8))
    logical_unit_reset(unit)
    assert unit.reservations.registrations


def test_clear_task_set_tells_the_others(unit, a, b, c) -> None:
    clear_task_set(unit, a.nexus)
    assert (a.attention(), b.attention(), c.attention()) == ("", "06/2f/00", "06/2f/00")
    clear_task_set(unit, a.nexus, aborted=[a.nexus, c.nexus])
    assert (a.attention(), b.attention(), c.attention()) == ("", "", "06/2f/00")
