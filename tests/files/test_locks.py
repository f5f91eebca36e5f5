"""Files that are held: what removes or replaces them has them to itself."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from goldherd.errors import ErrorKind, ImageError
from goldherd.files.locks import held, open_locked, refusal


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(b"x")
    return path


def test_held_file_can_not_be_opened(file: Path) -> None:
    with held([file]):
        for mode in ("r", "rw"):
            with pytest.raises(ImageError) as refused:
                open_locked(file, mode)
            assert refused.value.kind == ErrorKind.IN_USE
    os.close(open_locked(file, "rw"))


@pytest.mark.parametrize("mode", ["r", "rw"])
def test_open_file_can_not_be_held_and_none_of_the_others_is(file: Path, tmp_path: Path, mode: str) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"x")
    descriptor = open_locked(file, mode)
    with pytest.raises(ImageError) as refused, held([other, file]):
        pass
    assert (refused.value.kind, refused.value.path) == (ErrorKind.IN_USE, str(file))
    os.close(open_locked(other, "rw"))
    os.close(descriptor)


def test_file_of_another_process_can_not_be_held(file: Path) -> None:
    code = "import sys; from goldherd.files.locks import open_locked; open_locked(sys.argv[1], 'rw'); print(); input()"
    command = [sys.executable, "-c", code, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        with pytest.raises(ImageError), held([file]):
            pass
        owner.communicate(b"\n")
    with held([file]):
        pass


def test_read_only_file_is_held_and_stays_read_only(file: Path) -> None:
    file.chmod(0o444)
    with held([file]):
        assert stat.S_IMODE(file.stat().st_mode) == 0o444


def test_file_that_is_missing_needs_no_holding(tmp_path: Path) -> None:
    with held([tmp_path / "missing"]):
        pass


def test_file_removed_between_open_and_lock_is_not_taken(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def removed_meanwhile(path: Path, flags: int) -> int:
        descriptor = real(path, flags)
        Path(path).unlink()
        return descriptor

    monkeypatch.setattr("goldherd.files.locks.os.open", removed_meanwhile)
    with pytest.raises(ImageError, match="removed or replaced") as refused:
        open_locked(file, "rw")
    assert refused.value.kind == ErrorKind.BUSY


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (errno.EMFILE, ErrorKind.LIMIT, "RLIMIT_NOFILE"),
        (errno.ENFILE, ErrorKind.LIMIT, "fs.file-max"),
        (errno.ENOMEM, ErrorKind.LIMIT, "no memory is left"),
        (errno.ENOSPC, ErrorKind.FULL, "the file system is full"),
        (errno.EROFS, ErrorKind.NOT_PERMITTED, "Read-only file system"),
    ],
)
def test_shortage_is_named_as_what_it_is(code: int, kind: ErrorKind, words: str) -> None:
    refused = refusal(OSError(code, os.strerror(code)), "disk", "open")
    assert refused.kind == kind
    assert words in str(refused)
