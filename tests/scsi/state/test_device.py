"""Logical units and targets apart from any command."""

import pytest
from goldherd.block.memory import MemoryImage
from goldherd.errors import SettingsError
from goldherd.scsi.state.device import LogicalUnit, Target

from tests.scsi.conftest import Initiator


@pytest.mark.parametrize(
    ("block_size", "physical_block_size", "size", "message"),
    [
        (520, 520, 4096, "blocks of 520 bytes"),
        (512, 1536, 4096, "power-of-two multiple"),
        (512, 4097, 4096, "power-of-two multiple"),
        (512, 2 << 20, 4096, "power-of-two multiple"),
        (4096, 4096, 2048, "smaller than one block"),
    ],
)
def test_sizes_that_do_not_fit(block_size: int, physical_block_size: int, size: int, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        LogicalUnit(
            MemoryImage(size),
            lun=0,
            target=Target("iqn.x"),
            block_size=block_size,
            physical_block_size=physical_block_size,
            identity="x",
        )


def test_a_physical_block_is_never_smaller_than_a_logical_one(make_unit) -> None:
    assert make_unit(1, block_size=4096).physical_block_size == 4096


def test_odd_bytes_at_the_end_are_out_of_reach(make_unit) -> None:
    assert make_unit(1, block_size=4096, size=4096 + 512).block_count == 1


def test_a_unit_joins_its_target(target, make_unit) -> None:
    units = [make_unit(lun) for lun in (0, 5)]
    assert target.units == {0: units[0], 5: units[1]}


def test_lun_changes_reach_every_unit_s_nexuses_and_answers(target, make_unit, initiator_on) -> None:
    unit = make_unit(0)
    initiator = initiator_on(unit)
    changes: list[None] = []
    unit.on_change = lambda: changes.append(None)
    target.luns_changed()
    assert changes
    assert initiator.attention() == "06/3f/0e"


def test_at_port_finds_both_sessions_of_a_reinstatement(unit, a) -> None:
    again = Initiator(unit, "a").login()
    assert unit.at_port(a.nexus.port) == (a.nexus, again.nexus)
