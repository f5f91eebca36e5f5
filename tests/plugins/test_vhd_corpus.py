"""VHD files that other programs wrote read with the content that independent readers see."""

import gzip
import hashlib
from pathlib import Path

import pytest
from goldherd.block.image import Image

from tests.plugins.conftest import Opener, open_disk

DATA = Path(__file__).parent.parent / "data" / "vhd"
STEP = 1 << 20

# file, kind, size in bytes, SHA-256 of the content
CORPUS = (
    ("nodevhd-fixed", "fixed", 10485760, "fa0490edf13cf9699ac7ead2b2024f2ec7921f583ff824039bca0529055e409d"),
    (
        "nodevhd-dynamic",
        "dynamic",
        536870912,
        "c461afded0b54cc1cfb5441e08f4d7f9d699d2eff7d9526d1cf6ad227da26683",
    ),
    ("dfvfs-ext2", "dynamic", 4212736, "870be7ae16c1fa8faab05c6eb9205dc9a7ae35c5f552c5cf8a267c0bc6a5cb99"),
    ("plaso-image", "dynamic", 104448, "c6db12a7db548e193c29420c1b4533e4708b20c5033db5cc29ef075d48316d25"),
)


def unpack(name: str, target: Path) -> Path:
    target.write_bytes(gzip.decompress((DATA / f"{name}.vhd.gz").read_bytes()))
    return target


def sha256_of(image: Image) -> str:
    digest = hashlib.sha256()
    for offset in range(0, image.size_bytes, STEP):
        digest.update(image.read(offset, min(STEP, image.size_bytes - offset)))
    return digest.hexdigest()


@pytest.mark.parametrize(("name", "kind", "size_bytes", "content"), CORPUS)
def test_a_foreign_disk_reads_with_its_content(
    tmp_path: Path, name: str, kind: str, size_bytes: int, content: str
) -> None:
    image = open_disk(f"vhd:{unpack(name, tmp_path / 'disk.vhd')}", "r")
    assert (image.kind, image.size_bytes) == (kind, size_bytes)
    assert sha256_of(image) == content
    image.close()


@pytest.fixture
def differential(tmp_path: Path) -> Path:
    unpack("fat-parent.synthetic", tmp_path / "fat-parent.vhd")
    return unpack("dfvfs-fat-differential", tmp_path / "fat-differential.vhd")


def test_a_differencing_disk_of_windows_finds_its_parent_and_reads(differential: Path) -> None:
    opener = Opener()
    image = open_disk(f"vhd:{differential}", "r", opener)
    assert sha256_of(image) == "945b987cea3d40f34e8fd4f0519ccce6257b4656e266898494a992351770c812"
    assert image.describe()["kind"] == "differencing"
    image.close()
    opener.close()


def test_a_differencing_disk_of_windows_can_be_written(differential: Path) -> None:
    opener = Opener()
    image = open_disk(f"vhd:{differential}", "rw", opener)
    model = bytearray(image.read(0, image.size_bytes))
    for sector in range(0, image.size_bytes // 512, 333):
        image.write(sector * 512, memoryview(b"goldherd" * 64))
        model[sector * 512 : sector * 512 + 512] = b"goldherd" * 64
    image.close()
    image = open_disk(f"vhd:{differential}", "r", opener)
    assert image.read(0, image.size_bytes) == model
    image.close()
    opener.close()


def test_a_dynamic_disk_of_windows_grows(tmp_path: Path) -> None:
    path = unpack("nodevhd-dynamic", tmp_path / "disk.vhd")
    image = open_disk(f"vhd:{path}", "rw")
    before = sha256_of(image)
    hole = next(offset for offset in range(0, image.size_bytes, 2 << 20) if image.plan_of(offset, 512)[0][0] == "zero")
    image.write(hole, memoryview(b"new" + bytes(509)))
    image.discard(hole, 512)
    image.close()
    image = open_disk(f"vhd:{path}", "r")
    assert image.plan_of(hole, 512)[0][0] == "file"
    assert sha256_of(image) == before
    image.close()
