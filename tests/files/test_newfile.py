"""New files: whole and durable, or not there at all; alone and many together."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

import pytest
from goldherd.errors import ImageError, StorageFullError
from goldherd.files.newfile import Together, new_file

Within = Callable[[], AbstractContextManager[object]]


@pytest.fixture(params=["alone", "together"])
def within(request: pytest.FixtureRequest) -> Within:
    """Where a file is made: by itself, or as one of several."""
    if request.param == "alone":
        return nullcontext

    def together() -> AbstractContextManager[object]:
        stack = ExitStack()
        pool = stack.enter_context(ThreadPoolExecutor(2))
        stack.enter_context(stack.enter_context(Together(pool)).member())
        return stack

    return together


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make(path: Path, content: bytes = b"content") -> None:
    with new_file(path) as descriptor:
        os.write(descriptor, content)


def test_file_is_there_with_its_content_and_nothing_beside_it(tmp_path: Path, within: Within) -> None:
    with within():
        make(tmp_path / "one")
        make(tmp_path / "two")
    assert files(tmp_path) == ["one", "two"]
    assert (tmp_path / "one").read_bytes() == b"content"


def test_file_and_folder_are_durable_at_the_end(
    tmp_path: Path, within: Within, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", noting)
    with within():
        make(tmp_path / "one")
    assert synced == [(tmp_path / "one").stat().st_ino, tmp_path.stat().st_ino]


def test_existing_file_is_never_replaced(tmp_path: Path, within: Within) -> None:
    (tmp_path / "one").write_bytes(b"old")
    with pytest.raises(ImageError, match="exists already"), within():
        make(tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == b"old"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ImageError, match="exists already"), within():
        make(tmp_path / "link")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(("error", "expected"), [(ValueError(), ValueError), (OSError(28, "full"), StorageFullError)])
def test_file_that_can_not_be_filled_is_gone(
    tmp_path: Path, within: Within, error: Exception, expected: type[Exception]
) -> None:
    with pytest.raises(expected), within(), new_file(tmp_path / "one"):
        raise error
    assert files(tmp_path) == []


def test_file_that_can_not_be_made_durable_is_an_error(
    tmp_path: Path, within: Within, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", refuses)
    with pytest.raises(ImageError, match=r"Could not create .*one: Input/output error"), within():
        make(tmp_path / "one")


def test_descriptors_do_not_stay_open(tmp_path: Path, within: Within) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with within():
        make(tmp_path / "one")
    with pytest.raises(ValueError, match="stop"), within():
        make(tmp_path / "two")
        raise ValueError("stop")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_folder_that_is_not_there_is_an_error(tmp_path: Path, within: Within) -> None:
    with pytest.raises(ImageError, match="Could not create"), within():
        make(tmp_path / "nowhere" / "one")
