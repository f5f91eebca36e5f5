"""Small files that are replaced as a whole."""

from pathlib import Path

import pytest
from goldherd.files.whole import WholeFile


def test_content_is_what_was_saved_last(tmp_path: Path) -> None:
    file = WholeFile(tmp_path / "folder" / "file")
    assert file.load() is None
    file.save(b"one")
    file.save(b"two")
    assert file.load() == b"two"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["file"]


def test_removed_content_is_gone(tmp_path: Path) -> None:
    file = WholeFile(tmp_path / "file")
    file.save(b"one")
    file.remove()
    assert file.load() is None
    file.remove()


def test_content_that_can_not_be_made_durable_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = WholeFile(tmp_path / "file")
    file.save(b"one")

    def refuses(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuses)
    with pytest.raises(OSError, match="No space"):
        file.save(b"two")
    assert file.load() == b"one"


def test_removal_where_no_folder_is_does_nothing(tmp_path: Path) -> None:
    WholeFile(tmp_path / "folder" / "file").remove()
    assert not (tmp_path / "folder").exists()
