"""Persistent reservations that survive power loss."""

from pathlib import Path

import pytest
from goldherd.errors import SettingsError
from goldherd.files.whole import WholeFile
from goldherd.scsi.state import aptpl
from goldherd.scsi.state.device import LogicalUnit, Target

from tests.scsi.conftest import TARGET, CountingImage, Initiator
from tests.scsi.reservations.test_persistent import APTPL, IGNORE, REGISTER, RESERVE, WE, keys, out, reservation


def restarted(unit: LogicalUnit) -> LogicalUnit:
    """The same unit after power on."""
    store = unit.reservation_store
    return LogicalUnit(CountingImage(4096), lun=0, target=Target(TARGET), identity="x", reservation_store=store)


def record(unit: LogicalUnit) -> bytes | None:
    """What lies on stable storage."""
    assert unit.reservation_store is not None
    return unit.reservation_store.load()


def test_survives_a_restart(unit, a) -> None:
    a.good(*out(REGISTER, 0, 1, flags=APTPL))
    a.good(*out(RESERVE, 1, 0, WE))
    again = Initiator(restarted(unit), "a").login()
    assert keys(again) == (0, [1])
    assert reservation(again) == (1, WE)
    assert Initiator(again.unit, "b").login().conflicts("2a 00 00000000 00 0000 00")


def test_without_aptpl_nothing_survives(unit, a) -> None:
    a.good(*out(REGISTER, 0, 1))
    a.good(*out(RESERVE, 1, 0, WE))
    assert record(unit) is None
    assert keys(Initiator(restarted(unit), "a").login()) == (0, [])


def test_aptpl_turned_off_removes_the_file(unit, a) -> None:
    a.good(*out(REGISTER, 0, 1, flags=APTPL))
    assert record(unit) is not None
    a.good(*out(IGNORE, 0, 1))
    assert record(unit) is None


def test_refused_where_there_is_no_place_for_it(make_unit, initiator_on) -> None:
    assert initiator_on(make_unit(1)).sense(*out(REGISTER, 0, 1, flags=APTPL)) == "05/26/00"


def test_a_failure_to_keep_them_leaves_the_old_state(unit, a, monkeypatch: pytest.MonkeyPatch) -> None:
    a.good(*out(REGISTER, 0, 1, flags=APTPL))
    before = record(unit)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    assert a.sense(*out(RESERVE, 1, 0, WE)) == "05/55/04"
    assert reservation(a) is None
    assert record(unit) == before


def test_a_folder_that_is_not_there_yet_is_made(tmp_path: Path, unit, a) -> None:
    unit.reservation_store = WholeFile(tmp_path / "new" / "folder" / "file.json")
    a.good(*out(REGISTER, 0, 1, flags=APTPL))
    assert aptpl.load(unit.reservation_store).registrations == {a.nexus.port: 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 2}',
        '{"format": 1, "registrations": [{}], "reservation": null}',
        '{"format": 1, "registrations": [], "reservation": '
        '{"type": 1, "initiator_port": "iqn.x", "target_port": "iqn.y"}}',
    ],
)
def test_a_damaged_file_stops_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"persistent reservations in .* can't be read"):
        aptpl.load(WholeFile(path))
