"""How a disk becomes a golden file: never larger than the data it holds."""

import os
import stat
from pathlib import Path

import pytest
from goldherd.files.hashing import hash_file
from goldherd.files.space import keeps_holes
from goldherd.formats import Formats
from goldherd.hooks import BUILTIN, Hooks
from goldherd.volumes.goldens import hash_staged, stage

GIB = 1 << 30
MIB = 1 << 20


def quiet(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def formats() -> Formats:
    return Hooks([("vhd", BUILTIN["vhd"])]).formats


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """1 GiB with a megabyte of data in the middle and a sector at the end."""
    path = tmp_path / "source.raw"
    with path.open("wb") as file:
        file.truncate(GIB)
        file.seek(300 * MIB + 4096)
        file.write(os.urandom(MIB))
        file.seek(GIB - 512)
        file.write(os.urandom(512))
    return path


@pytest.mark.parametrize("holes", [True, False, None])
def test_copy_takes_no_more_space_than_the_data(
    formats: Formats, sparse: Path, tmp_path: Path, holes: bool | None
) -> None:
    staged = tmp_path / "copy.vhd"
    prefix_bytes = stage(formats, sparse, stat.S_IFREG, "raw", GIB, staged, quiet, holes=holes)
    limit = 8 * MIB
    assert staged.stat().st_blocks * 512 < limit
    if holes is False:
        assert staged.stat().st_size < limit, "dynamic: small without holes too"
    image = formats.open(f"vhd:{staged}", "r", None)  # type: ignore[arg-type]
    assert image.size_bytes == GIB
    with sparse.open("rb") as file:
        for offset in (0, 299 * MIB, 300 * MIB, 301 * MIB, GIB - MIB):
            file.seek(offset)
            assert image.read(offset, MIB) == file.read(MIB)
    image.close()
    hashes = hash_staged(staged, quiet, prefix_bytes, sparse)
    assert hashes == (hash_file(staged, quiet)[0], hash_file(sparse, quiet)[0])


def test_space_is_never_set_aside_for_a_copy(formats: Formats, tmp_path: Path) -> None:
    """A disk of 1 TiB with nothing in it, on any machine."""
    source = tmp_path / "huge.raw"
    with source.open("wb") as file:
        file.truncate(1 << 40)
    staged = tmp_path / "copy.vhd"
    stage(formats, source, stat.S_IFREG, "sparse", 1 << 40, staged, quiet)
    assert staged.stat().st_blocks * 512 < 64 * MIB


def test_trial_of_a_file_system_leaves_nothing(tmp_path: Path) -> None:
    keeps_holes(tmp_path / "trial")
    assert list(tmp_path.iterdir()) == []
