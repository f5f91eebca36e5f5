"""What goldherd's own files look like after a power cut behind each of their steps."""

from collections.abc import Callable
from pathlib import Path

from goldherd.files.newfile import new_file
from goldherd.files.space import keeps_holes
from goldherd.volumes.sealing import is_write_protected, make_read_only

from tests.faults.filesystem import FaultFs

SEEDS = range(16)


def left_by(program: Path, folder: Path, deed: Callable[[Path], None]) -> list[dict[str, int]]:
    """Does it in an empty folder and cuts, again and again: the files that are left, with their permissions."""
    found = []
    for seed in SEEDS:
        with FaultFs(program, folder) as filesystem:
            deed(filesystem.path)
            filesystem.cut(seed)
        found.append({path.name: path.stat().st_mode & 0o777 for path in filesystem.backing.iterdir()})
        for path in filesystem.backing.iterdir():
            path.unlink()
    return found


def make(folder: Path) -> None:
    with new_file(folder / "disk"):
        pass


def test_a_new_file_has_its_name_and_no_other(program: Path, folder: Path) -> None:
    assert {tuple(files) for files in left_by(program, folder, make)} == {("disk",)}


def test_a_sealed_file_stays_read_only(program: Path, folder: Path) -> None:
    def seal(there: Path) -> None:
        make(there)
        make_read_only(there / "disk")
        assert is_write_protected(there / "disk")

    assert {files["disk"] for files in left_by(program, folder, seal)} == {0o444}


def test_the_trial_of_holes_leaves_no_name_of_its_own(program: Path, folder: Path) -> None:
    def attempt(there: Path) -> None:
        assert keeps_holes(there / "disk")
        make(there)

    assert {tuple(files) for files in left_by(program, folder, attempt)} == {("disk",)}
