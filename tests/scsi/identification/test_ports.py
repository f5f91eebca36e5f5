"""A target with several portal groups, each a SCSI target port (RFC 7143 4.2.7.1): who sees which, who is who."""

from pathlib import Path

import pytest
from goldherd.block.memory import MemoryImage
from goldherd.scsi.prebuilt import prebuilt
from goldherd.scsi.reservations import transport_id
from goldherd.scsi.state import aptpl
from goldherd.scsi.state.device import LogicalUnit, Target

from tests.scsi.conftest import BLOCKS, TARGET, Initiator
from tests.scsi.reservations.test_persistent import (
    ALL_TG_PT,
    APTPL,
    IGNORE,
    REGISTER,
    RESERVE,
    SPEC_I_PT,
    WE,
    WRITE,
    move,
    out,
)

PORTS = (1, 2, 0x1234)
READ_KEYS, FULL_STATUS = "5e 00 00 00 00 00 00 1000 00", "5e 03 00 00 00 00 00 1000 00"


@pytest.fixture
def target() -> Target:
    return Target(TARGET, PORTS)


def through(unit: LogicalUnit, tag: int, name: str = "a") -> Initiator:
    """An initiator that came by a portal of that group."""
    initiator = Initiator(unit, name)
    initiator.nexus = unit.target.nexus(initiator.nexus.initiator_name, bytes(6), tag)
    return initiator.login()


def keys(initiator: Initiator) -> int:
    """How many registrations there are."""
    return int.from_bytes(initiator.good(READ_KEYS)[4:8]) // 8


def registered_ports(initiator: Initiator) -> list[int]:
    """The relative target ports in READ FULL STATUS."""
    data = initiator.good(FULL_STATUS)
    ports, at = [], 8
    while at < len(data):
        ports.append(int.from_bytes(data[at + 18 : at + 20]))
        at += 24 + int.from_bytes(data[at + 20 : at + 24])
    return ports


@pytest.mark.parametrize("tag", PORTS)
def test_identification_names_the_port_through_which_one_asks(unit: LogicalUnit, tag: int) -> None:
    page = through(unit, tag).good("12 01 83 0400 00")
    assert bytes([0x51, 0x94, 0, 4]) + tag.to_bytes(4) in page  # relative target port
    assert f"{TARGET},t,0x{tag:04x}".encode() in page
    assert sum(f"{TARGET},t,0x{other:04x}".encode() in page for other in PORTS) == 1
    assert bytes([0x51, 0x95, 0, 4, 0, 0, 0, 1]) in page  # the group that all belong to


def test_the_disk_is_the_same_through_every_port(unit: LogicalUnit) -> None:
    """NAA, EUI-64, serial number: what multipath knows a disk by."""
    pages = [through(unit, tag).good("12 01 83 0400 00") for tag in PORTS]
    assert all(unit.naa in page and unit.eui64 in page for page in pages)


def test_scsi_ports_lists_all(unit: LogicalUnit) -> None:
    page = through(unit, 2).good("12 01 88 0400 00")
    at, found = 4, []
    while at < len(page):
        length = int.from_bytes(page[at + 10 : at + 12])
        assert page[at + 6 : at + 8] == bytes(2)  # no initiator port is told
        assert f",t,0x{int.from_bytes(page[at + 2 : at + 4]):04x}".encode() in page[at + 12 : at + 12 + length]
        found.append(int.from_bytes(page[at + 2 : at + 4]))
        at += 12 + length
    assert (found, at) == (list(PORTS), len(page))


def test_one_group_of_all_ports_is_reported(unit: LogicalUnit) -> None:
    data = through(unit, 2).good("a3 0a 00000000 00000100 00 00")
    assert data[4:12].hex() == "0001000100000003"
    assert [int.from_bytes(data[at : at + 4]) for at in range(12, len(data), 4)] == list(PORTS)


def test_identification_is_no_prebuilt_answer_when_ports_differ(target: Target) -> None:
    """The data plane's answers are one for all nexuses."""
    several = LogicalUnit(MemoryImage(BLOCKS * 512), lun=0, target=target, identity="x")
    single = LogicalUnit(MemoryImage(BLOCKS * 512), lun=0, target=Target("iqn.2026-11.io.goldherd:one"), identity="x")
    pages = [{entry.cdb[2] for entry in prebuilt(unit) if entry.cdb[:2] == b"\x12\x01"} for unit in (several, single)]
    assert 0x83 not in pages[0] and 0x83 in pages[1]
    assert pages[0] == pages[1] - {0x83}


def test_registrations_belong_to_both_ports(unit: LogicalUnit) -> None:
    one, two = through(unit, 1), through(unit, 2)
    one.good(*out(REGISTER, 0, 7))
    one.good(*out(RESERVE, 7, type_=WE))
    assert two.conflicts(WRITE)
    two.good(*out(REGISTER, 0, 7))
    assert registered_ports(one) == [1, 2]


def test_all_target_ports_are_registered_at_once(unit: LogicalUnit) -> None:
    one = through(unit, 1)
    one.good(*out(REGISTER, 0, 7, flags=ALL_TG_PT))
    assert registered_ports(one) == list(PORTS)
    late = through(unit, 2)
    late.good(*out(RESERVE, 7, type_=WE))  # registered although it came later
    assert one.conflicts(WRITE)


def test_all_target_ports_are_unregistered_at_once(unit: LogicalUnit) -> None:
    one, two = through(unit, 1), through(unit, 2)
    one.good(*out(REGISTER, 0, 7, flags=ALL_TG_PT))
    two.good(*out(RESERVE, 7, type_=WE))
    one.good(*out(IGNORE, 0, 0, flags=ALL_TG_PT))
    assert keys(one) == 0
    assert not one.conflicts(WRITE)


def test_only_the_own_port_is_unregistered_otherwise(unit: LogicalUnit) -> None:
    one = through(unit, 1)
    one.good(*out(REGISTER, 0, 7, flags=ALL_TG_PT))
    one.good(*out(IGNORE, 0, 0))
    assert registered_ports(one) == [2, 0x1234]


def test_other_initiators_on_all_target_ports(unit: LogicalUnit) -> None:
    one, other = through(unit, 1), through(unit, 2, "b")
    identifier = transport_id.encode(other.nexus.initiator_port)
    more = len(identifier).to_bytes(4) + identifier
    one.good(*out(REGISTER, 0, 7, flags=ALL_TG_PT | SPEC_I_PT, more=more))
    assert sorted(registered_ports(one)) == sorted(PORTS * 2)


def test_a_reservation_moves_to_another_port_of_the_same_initiator(unit: LogicalUnit) -> None:
    one, two = through(unit, 1), through(unit, 2)
    one.good(*out(REGISTER, 0, 7))
    one.good(*out(RESERVE, 7, type_=WE))
    one.good(*move(7, 8, one.nexus.initiator_port, relative_port=2))
    assert one.conflicts(WRITE) and not two.conflicts(WRITE)


@pytest.mark.parametrize("port", [0, 3, 0x1235])
def test_a_reservation_moves_to_no_port_that_is_not_there(unit: LogicalUnit, port: int) -> None:
    one = through(unit, 1)
    one.good(*out(REGISTER, 0, 7))
    one.good(*out(RESERVE, 7, type_=WE))
    assert one.sense(*move(7, 8, "iqn.2026-11.x:y,i,0x000000000001", relative_port=port)) == "05/26/00"


def test_ports_survive_power_loss(unit: LogicalUnit, tmp_path: Path) -> None:
    one = through(unit, 0x1234)
    one.good(*out(REGISTER, 0, 7, flags=APTPL))
    assert unit.reservation_store is not None
    assert list(aptpl.load(unit.reservation_store).registrations) == [one.nexus.port]


def test_same_isid_through_two_ports_is_two_nexuses(unit: LogicalUnit) -> None:
    """Linux has one ISID at every boot: unit attentions and RESERVE belong to one path."""
    one, two = through(unit, 1), through(unit, 2)
    one.good("16 00 00 00 00 00")
    assert two.conflicts(WRITE)
