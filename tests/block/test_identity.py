"""What the SCSI names of a file's disk are made from: kept with the file, never shared by two."""

import os
import shutil
from pathlib import Path

import pytest
from goldherd.block.identity import ATTRIBUTE, disk_identity


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(4096))
    return path


def test_identity_stays_with_a_file_that_is_renamed_and_rewritten(disk: Path) -> None:
    identity = disk_identity(str(disk))
    disk.write_bytes(b"\1" * 4096)
    moved = disk.rename(disk.with_name("moved.raw"))
    assert disk_identity(str(moved)) == identity


def test_copy_that_took_the_attribute_along_is_another_disk(disk: Path) -> None:
    identity = disk_identity(str(disk))
    copy = disk.with_name("copy.raw")
    shutil.copy2(disk, copy)
    os.setxattr(copy, ATTRIBUTE, os.getxattr(disk, ATTRIBUTE))
    assert disk_identity(str(copy)) != identity
    assert disk_identity(str(copy)) == disk_identity(str(copy))
    assert disk_identity(str(disk)) == identity


def test_place_names_what_takes_no_attribute() -> None:
    device, twin = "/dev/zero", "/dev/full"
    assert disk_identity(device) == disk_identity(device) != disk_identity(twin)
    assert disk_identity("https://example.org/a.raw") != disk_identity("https://example.org/b.raw")
    assert disk_identity("a\0b") == disk_identity("a\0b")


@pytest.mark.parametrize("kept", [b"", b"no-inode", b"\xff\xfe 1", b"x " + b"9" * 40], ids=repr)
def test_damaged_attribute_is_made_anew(disk: Path, kept: bytes) -> None:
    os.setxattr(disk, ATTRIBUTE, kept)
    identity = disk_identity(str(disk))
    assert len(identity) == 32
    assert disk_identity(str(disk)) == identity
