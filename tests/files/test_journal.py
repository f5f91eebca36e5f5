"""Changes of several files are whole or not there, also when the process that made them died."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from goldherd.files.journal import Change, Journal
from goldherd.files.locks import open_locked


class Records:
    """The decisions of an owner, in memory."""

    def __init__(self, folder: Path) -> None:
        self.decided: set[str] = set()
        self.folder = folder
        self.journal = Journal(folder, self.decided.__contains__)

    def die_in(self, work: Callable[[Change], None]) -> None:
        """Runs a change in a process that ends in the middle of it, as by kill -9."""
        child = os.fork()
        if child == 0:
            with self.journal.change() as change:
                work(change)
                if (self.folder / "decided").exists():
                    (self.folder / "decided").write_text(change.id)
                os._exit(0)
        os.waitpid(child, 0)
        if (self.folder / "decided").exists():
            self.decided.add((self.folder / "decided").read_text())


@pytest.fixture
def records(tmp_path: Path) -> Records:
    folder = tmp_path / "changes"
    folder.mkdir()
    return Records(folder)


def left(records: Records) -> list[Path]:
    return list(records.folder.glob("*.intent"))


def test_made_file_goes_when_the_change_is_not_committed(records: Records, tmp_path: Path) -> None:
    made = tmp_path / "made"
    with pytest.raises(ZeroDivisionError), records.journal.change() as change:
        change.make([made])
        made.write_bytes(b"x")
        raise ZeroDivisionError
    assert not made.exists()
    assert left(records) == []


def test_committed_change_keeps_what_it_made_and_removes_what_it_meant_to(records: Records, tmp_path: Path) -> None:
    made, old = tmp_path / "made", tmp_path / "old"
    old.write_bytes(b"x")
    with records.journal.change() as change:
        change.make([made])
        change.remove([old])
        made.write_bytes(b"x")
        records.decided.add(change.id)
    assert (made.exists(), old.exists()) == (True, False)
    assert left(records) == []


def test_file_to_remove_stays_when_the_change_is_not_committed(records: Records, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_bytes(b"x")
    with records.journal.change() as change:
        change.remove([old])
    assert old.exists()


def test_file_is_replaced_when_the_change_is_committed(records: Records, tmp_path: Path) -> None:
    old, fresh = tmp_path / "old", tmp_path / "fresh"
    for decide in (False, True):
        old.write_bytes(b"old")
        with records.journal.change() as change:
            change.make([fresh])
            change.replace([(fresh, old)])
            fresh.write_bytes(b"fresh")
            if decide:
                records.decided.add(change.id)
        assert not fresh.exists()
        assert old.read_bytes() == (b"fresh" if decide else b"old")


def test_permissions_come_back_when_the_change_is_not_committed(records: Records, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    file.chmod(0o640)
    with records.journal.change() as change:
        change.keep_mode(file)
        file.chmod(0o444)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_file_that_is_not_listed_is_left_alone(records: Records, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    stranger.write_bytes(b"x")
    with records.journal.change() as change:
        change.make([tmp_path / "made"])
    records.journal.sweep()
    assert stranger.exists()


def test_half_written_file_of_a_plugin_goes_with_the_listed_one(records: Records, tmp_path: Path) -> None:
    half, other = tmp_path / ".pc-1.lab@1.vhd.0badcafe.new", tmp_path / ".pc-2.lab@1.vhd.0badcafe.new"
    for path in (half, other):
        path.write_bytes(b"x")
    with records.journal.change() as change:
        change.make([tmp_path / "pc-1.lab@1.vhd"])
    assert (half.exists(), other.exists()) == (False, True)


def test_running_change_of_another_is_left_alone(records: Records, tmp_path: Path) -> None:
    made = tmp_path / "made"
    with records.journal.change() as change:
        change.make([made])
        made.write_bytes(b"x")
        assert records.journal.live() == {change.id}
        Journal(records.folder, records.decided.__contains__).sweep()
        assert made.exists()


@pytest.mark.parametrize("decided", [False, True])
def test_next_change_ends_what_a_dead_one_began(records: Records, tmp_path: Path, decided: bool) -> None:
    made, old = tmp_path / "made", tmp_path / "old"
    old.write_bytes(b"x")
    if decided:
        (records.folder / "decided").touch()

    def work(change: Change) -> None:
        change.make([made])
        change.remove([old])
        made.write_bytes(b"x")

    records.die_in(work)
    assert (made.exists(), old.exists()) == (True, True)
    with records.journal.change():
        pass
    assert (made.exists(), old.exists()) == (decided, not decided)
    assert left(records) == []


def test_open_file_of_a_dead_change_stays(records: Records, tmp_path: Path) -> None:
    made = tmp_path / "made"

    def work(change: Change) -> None:
        change.make([made])
        made.write_bytes(b"x")

    records.die_in(work)
    descriptor = open_locked(made, "r")
    records.journal.sweep()
    os.close(descriptor)
    assert made.exists()
    assert left(records) == []


@pytest.mark.parametrize("name", ["two\nlines", "lat\udcfc", 'quo"ted', "back\\slash", "a,b %20 ?#"])
def test_any_name_that_a_file_may_have_is_listed_right(records: Records, tmp_path: Path, name: str) -> None:
    made = tmp_path / name

    def work(change: Change) -> None:
        change.make([made])
        made.write_bytes(b"x")

    records.die_in(work)
    assert made.exists()
    records.journal.sweep()
    assert not made.exists()


def test_line_that_a_crash_cut_off_names_no_file(records: Records, tmp_path: Path) -> None:
    cut = tmp_path / "lab"
    cut.write_bytes(b"x")
    (records.folder / "dead.intent").write_text(f'{{"do": "make", "path": "{cut}"')
    records.journal.sweep()
    assert cut.exists()
    assert left(records) == []
