"""Two disks never have one serial number or NAA designator: multipath would join them (SPC-4 7.8.6.6)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.target.daemon import Daemon, Herd, running

Exporter = Callable[..., tuple[bytes, bytes]]


def names(daemon: Daemon, node: str, lun: int = 0) -> tuple[bytes, bytes]:
    """Serial number (VPD page 80h) and the NAA designator (VPD page 83h) of a disk."""
    with daemon.log_in(node) as session:
        while session.command(bytes(6), lun=lun).key[0] == 6:
            pass
        serial = session.command(bytes([0x12, 1, 0x80, 0, 255, 0]), read=255, lun=lun).data[4:]
        page = session.command(bytes([0x12, 1, 0x83, 4, 0, 0]), read=1024, lun=lun).data
        return serial, next(designator for kind, designator in _designators(page) if kind == 3)


def _designators(page: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each designator of the Device Identification page (SPC-4 7.8.6.1)."""
    at = 4
    while at < len(page):
        length = page[at + 3]
        yield page[at + 1] & 0x0F, page[at + 4 : at + 4 + length]
        at += 4 + length


@pytest.fixture
def export(tmp_path: Path) -> Exporter:
    def do(*files: object, lun: int = 0) -> tuple[bytes, bytes]:
        with running(tmp_path / "log", "--data", tmp_path / "none", "export", *files) as daemon:
            return names(daemon, "export", lun)

    return do


def made(path: Path) -> Path:
    path.write_bytes(bytes(1 << 20))
    return path


def test_exports_of_two_files_have_different_names_and_keep_them(tmp_path: Path, export: Exporter) -> None:
    one, two = made(tmp_path / "one.raw"), made(tmp_path / "two.raw")
    first = export(one)
    assert all(mine != others for mine, others in zip(first, export(two), strict=True))
    moved = one.rename(tmp_path / "moved.raw")
    assert export(two, moved, lun=1) == first, "a file keeps its names under another name and LUN"


def test_overlay_of_an_export_has_names_of_its_own(tmp_path: Path, export: Exporter) -> None:
    golden = made(tmp_path / "golden.raw")
    vhd = tmp_path / "golden.vhd"
    herd = Herd(tmp_path / "data")
    herd.do("image", "import", golden, "--name", "lab")
    vhd.write_bytes((herd.data / "images" / "lab@1.vhd").read_bytes())
    one = export(vhd, "--overlay", tmp_path / "a.vhd")
    assert one != export(vhd, "--overlay", tmp_path / "b.vhd")
    assert one == export(vhd, "--overlay", tmp_path / "a.vhd")


def test_nodes_of_one_name_in_two_data_folders_have_different_names(tmp_path: Path) -> None:
    golden = made(tmp_path / "golden.raw")
    found = []
    for folder in ("a", "b", "a"):
        herd = Herd(tmp_path / folder)
        if not herd.data.exists():
            herd.do("image", "import", golden, "--name", "lab")
            herd.do("node", "add", "pc-[1-2]", "--image", "lab")
        with herd.serve() as daemon:
            found.append(names(daemon, "pc-1"))
            assert names(daemon, "pc-2") != found[-1]
    assert found[0] == found[2]
    assert all(mine != others for mine, others in zip(found[0], found[1], strict=True))


def test_rebuilt_catalog_keeps_the_names_of_disks(tmp_path: Path) -> None:
    herd = Herd(tmp_path / "data")
    herd.do("image", "import", made(tmp_path / "golden.raw"), "--name", "lab")
    herd.do("node", "add", "pc-1", "--image", "lab")
    with herd.serve() as daemon:
        before = names(daemon, "pc-1")
    for part in herd.data.glob("catalog.sqlite*"):
        part.unlink()
    herd.do("doctor", "--rebuild-catalog", "--yes")
    with herd.serve() as daemon:
        assert names(daemon, "pc-1") == before
