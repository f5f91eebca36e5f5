"""Importing a golden image: checked, copied, sealed, or nothing at all."""

import asyncio
import errno
import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from goldherd.errors import CatalogError, ErrorKind, ImageError, SettingsError, StorageFullError
from goldherd.files.hashing import hash_file
from goldherd.model.images import CONTENT_HASH, ImageRef, VersionRecord
from goldherd.model.nodes import NodeSpec
from goldherd.model.options import FilterSpec, parse_filter
from goldherd.model.progress import silent
from goldherd.services import nodes
from goldherd.services.context import Services
from goldherd.services.directory import CatalogDirectory
from goldherd.services.goldens.verifying import verify
from goldherd.services.images import list_versions
from goldherd.services.importing import SealedOpener, import_image
from goldherd.volumes.marks import MARK

from tests.services.conftest import PREFIX

Make = Callable[..., Path]
Sealer = Callable[..., VersionRecord]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def everything(folder: Path) -> list[str]:
    """All files below a data folder but the database and the locks."""
    files = (
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(("catalog.sqlite", MARK))
    )
    return sorted(str(path.relative_to(folder)) for path in files if path.suffix != ".lock")


def test_vhd_is_copied_byte_for_byte_and_sealed(services: Services, make_vhd: Make, seal: Sealer) -> None:
    source = make_vhd()
    version = seal(source=source)
    assert (version.name, version.state, version.format, version.in_place) == (
        "lab@1",
        "active",
        "vhd",
        False,
    )
    assert version.path == services.volumes.images / "lab@1.vhd"
    assert version.path.read_bytes() == source.read_bytes()
    assert version.sha256 == version.source_sha256 == sha256(source)
    assert stat.S_IMODE(version.path.stat().st_mode) == 0o444
    assert everything(services.data) == ["images/lab@1.vhd"]


def test_raw_disk_becomes_a_fixed_vhd_with_the_same_bytes(make_raw: Make, seal: Sealer) -> None:
    source = make_raw()
    version = seal(source=source)
    stored = version.path.read_bytes()
    assert version.format == "vhd"
    assert version.size_bytes == source.stat().st_size
    assert stored[: version.size_bytes] == source.read_bytes()
    assert stored[version.size_bytes :].startswith(b"conectix")
    assert version.source_sha256 == sha256(source)
    assert version.sha256 == sha256(version.path)


def test_filters_of_a_version_are_those_of_its_nodes_disks(services: Services, make_vhd: Make) -> None:
    filters = [FilterSpec("error", (("on", "read"), ("first", "8"))), FilterSpec("delay")]
    import_image(services, make_vhd(), "lab", filters=filters, progress=silent)
    import_image(services, make_vhd("other.vhd"), "lab", progress=silent)
    assert [version.filters for version in list_versions(services)] == [("error:on=read,first=8", "delay"), ()]
    nodes.add(services, ["pc-1"], NodeSpec(image=ImageRef("lab", 1)))
    nodes.add(services, ["pc-2"], NodeSpec(image=ImageRef("lab", 2)))
    directory = CatalogDirectory(services)
    found = [asyncio.run(directory.find(f"{PREFIX}:{node}")) for node in ("pc-1", "pc-2")]
    directory.close()
    assert [target and target.luns[0].filters for target in found] == [tuple(filters), ()]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("nothing", "no plugin has the filter nothing"), ("delay:ms=soon", "ms=soon"), ("delay:speed=1", "'speed'")],
)
def test_filter_that_can_not_be_used_is_refused_before_anything_is_made(
    services: Services, make_vhd: Make, text: str, sentence: str
) -> None:
    with pytest.raises((ImageError, SettingsError), match=sentence):
        import_image(services, make_vhd(), "lab", filters=[parse_filter(text)], progress=silent)
    assert everything(services.data) == []


def test_disk_of_two_tebibytes_is_imported_for_the_price_of_its_data(services: Services, tmp_path: Path) -> None:
    source = tmp_path / "huge.raw"
    with source.open("wb") as file:
        file.truncate(2040 << 30)
        for number in range(4):
            file.seek(number * 500 << 30)
            file.write(os.urandom(1 << 20))
    before = bytes_moved()
    version = import_image(services, source, "lab", progress=silent)
    assert bytes_moved() - before < 64 << 20
    assert (version.hash_algorithm, version.sha256, version.source_sha256) == (CONTENT_HASH, None, None)
    assert version.source_hash == hash_file(source, silent)[0].chunked
    assert version.path.stat().st_blocks * 512 < 16 << 20
    before = bytes_moved()
    verify(services, version.ref, silent)
    assert bytes_moved() - before < 16 << 20


def test_dynamic_disk_of_two_tebibytes_is_imported_for_the_price_of_its_data(
    services: Services, formats: Any, tmp_path: Path
) -> None:
    source = tmp_path / "huge.vhd"
    formats.create(f"vhd:{source}", 2040 << 30)
    image = formats.open(f"vhd:{source}", "rw", None)
    image.write(1 << 40, memoryview(os.urandom(1 << 20)))
    image.close()
    before = bytes_moved()
    version = import_image(services, source, "lab", progress=silent)
    assert bytes_moved() - before < 64 << 20
    assert version.hash == version.source_hash
    assert version.path.read_bytes() == source.read_bytes()


def bytes_moved() -> int:
    """Bytes that this process asked reading and writing system calls for (proc(5))."""
    return sum(int(line.split()[1]) for line in Path("/proc/self/io").read_text().splitlines()[:2])


def test_next_version_is_sealed_and_not_active(seal: Sealer) -> None:
    assert [seal().name, seal().name, seal("other").name] == ["lab@1", "lab@2", "other@1"]


def test_only_the_first_version_becomes_active(services: Services, seal: Sealer) -> None:
    seal()
    seal()
    assert [version.state for version in list_versions(services)] == ["active", "sealed"]


def test_file_adopted_in_place_stays_where_it_is_and_becomes_read_only(
    services: Services, make_vhd: Make, seal: Sealer
) -> None:
    source = make_vhd()
    version = seal(source=source, in_place=True)
    assert (version.path, version.in_place) == (source, True)
    assert stat.S_IMODE(source.stat().st_mode) == 0o444
    assert everything(services.data) == []


def test_file_is_adopted_once(make_vhd: Make, seal: Sealer) -> None:
    source = make_vhd()
    seal(source=source, in_place=True)
    with pytest.raises(CatalogError, match="sealed already, as lab@1"):
        seal("other", source, in_place=True)


def test_raw_disk_is_not_adopted_in_place(make_raw: Make, seal: Sealer) -> None:
    source = make_raw()
    with pytest.raises(ImageError, match="import a copy"):
        seal(source=source, in_place=True)
    assert stat.S_IMODE(source.stat().st_mode) & 0o200


def test_refused_adoption_gives_the_permissions_back(services: Services, make_vhd: Make, seal: Sealer) -> None:
    source = make_vhd()
    source.chmod(0o640)

    def writes_while_hashing(stage: str, done: int, total: int) -> None:
        os.utime(source, ns=(1, done))

    with pytest.raises(ImageError, match="was written to while it was imported"):
        import_image(services, source, "lab", in_place=True, progress=writes_while_hashing)
    assert stat.S_IMODE(source.stat().st_mode) == 0o640
    assert list_versions(services) == []


def test_source_written_while_it_is_copied_is_refused(services: Services, make_vhd: Make) -> None:
    source = make_vhd()

    def writes(stage: str, done: int, total: int) -> None:
        os.utime(source, ns=(1, 1))

    with pytest.raises(ImageError, match="was written to while"):
        import_image(services, source, "lab", progress=writes)
    assert everything(services.data) == []


@pytest.mark.parametrize("name", ["missing.vhd", "."])
def test_source_that_is_no_file_is_refused(services: Services, tmp_path: Path, seal: Sealer, name: str) -> None:
    with pytest.raises(ImageError):
        seal(source=tmp_path / name)
    assert everything(services.data) == []


def test_raw_disk_of_broken_sectors_is_refused(services: Services, make_raw: Make, seal: Sealer) -> None:
    with pytest.raises(ImageError, match="sectors of 512"):
        seal(source=make_raw(size_bytes=100_001))
    assert everything(services.data) == []


def test_format_that_is_named_wins_over_the_probe(make_raw: Make, seal: Sealer) -> None:
    with pytest.raises(ImageError, match="VHD"):
        seal(source=make_raw(), format_name="vhd")


def test_format_that_can_have_no_children_is_refused(make_raw: Make, seal: Sealer) -> None:
    with pytest.raises(ImageError, match="convert it"):
        seal(source=make_raw(), format_name="zip")


def test_differencing_golden_needs_a_sealed_parent(services: Services, make_vhd: Make, seal: Sealer) -> None:
    base = make_vhd("base.vhd")
    child = make_vhd("patch.vhd", parent=base)
    with pytest.raises(ImageError, match="import the parent first"):
        seal("patch", child)
    assert everything(services.data) == []


def test_differencing_golden_finds_its_parent_by_content(make_vhd: Make, seal: Sealer) -> None:
    base = make_vhd("base.vhd")
    child = make_vhd("patch.vhd", parent=base)
    assert seal("base", base).parent is None
    assert seal("patch", child).parent == "base@1"


def test_chain_is_adopted_in_place_from_its_root_up(make_vhd: Make, seal: Sealer) -> None:
    base = make_vhd("base.vhd")
    child = make_vhd("patch.vhd", parent=base)
    seal("base", base, in_place=True)
    assert seal("patch", child, in_place=True).parent == "base@1"


def test_disk_in_use_by_a_writer_is_refused(services: Services, make_raw: Make, seal: Sealer) -> None:
    source = make_raw()
    writer = services.formats.open(f"raw:{source}", "rw", SealedOpener(services))
    try:
        with pytest.raises(ImageError, match="another program writes to it"):
            seal(source=source)
    finally:
        writer.close()
    assert everything(services.data) == []


def test_full_disk_leaves_nothing_and_says_so(
    services: Services, make_vhd: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("goldherd.files.copying.os.copy_file_range", full)
    source = make_vhd()
    with source.open("r+b") as file:
        file.write(b"data that must be copied")
    with pytest.raises(StorageFullError, match="the file system is full"):
        import_image(services, source, "lab", progress=lambda *_: None)
    assert everything(services.data) == []


def test_file_in_the_way_is_not_overwritten(services: Services, seal: Sealer) -> None:
    stranger = services.volumes.images / "lab@1.vhd"
    stranger.write_bytes(b"somebody's")
    with pytest.raises(CatalogError, match="in the way"):
        seal()
    assert stranger.read_bytes() == b"somebody's"


KILLED_IMPORT = """
import os, signal, sys
from pathlib import Path
from goldherd.hooks import Hooks
from goldherd.services import importing
from goldherd.services.context import Services
from goldherd.services.directory import CatalogDirectory
from goldherd.volumes import goldens
data, source, moment = sys.argv[1:]
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
if moment == "rename":
    goldens.sync_folder = die
def progress(stage, done, total):
    if stage == moment:
        die()
services = Services(Path(data), lambda: Hooks().formats, "iqn.2026-11.io.test")
importing.import_image(services, Path(source), "lab", progress=progress)
"""


@pytest.mark.parametrize("moment", ["copy", "hash", "rename"])
def test_killed_import_leaves_nothing(services: Services, make_raw: Make, seal: Sealer, moment: str) -> None:
    source = make_raw()
    arguments = [str(argument) for argument in (services.data, source, moment)]
    ended = subprocess.run([sys.executable, "-c", KILLED_IMPORT, *arguments], check=False)
    assert ended.returncode == -9
    assert list_versions(services) == []
    assert everything(services.data) != []
    services.volumes.journal.sweep()
    assert everything(services.data) == []
    assert seal(source=source).name == "lab@1"


def test_child_is_imported_when_its_parents_original_is_gone(services: Services, seal: Sealer, make_vhd: Make) -> None:
    golden = make_vhd()
    child = make_vhd("child.vhd", parent=golden)
    parent = seal(source=golden)
    golden.unlink()
    assert seal("kids", source=child).parent == parent.name


def test_child_of_a_parent_that_was_changed_after_its_import_is_refused(
    services: Services, seal: Sealer, make_vhd: Make
) -> None:
    golden = make_vhd()
    child = make_vhd("child.vhd", parent=golden)
    seal(source=golden)
    with golden.open("r+b") as file:
        file.write(b"changed")
    with pytest.raises(ImageError, match="not sealed in the catalog"):
        seal("kids", source=child)


def test_parent_is_the_version_that_was_named(seal: Sealer, make_vhd: Make) -> None:
    golden = make_vhd()
    child = make_vhd("child.vhd", parent=golden)
    first, second = seal(source=golden), seal(source=golden)
    golden.unlink()
    for version in (first, second):
        ref = ImageRef(version.image, version.number)
        assert seal("kids", source=child, parent_ref=ref).parent == version.name
    other = seal("other", source=make_vhd("other.vhd"))
    with pytest.raises(ImageError, match="another disk"):
        seal("kids", source=child, parent_ref=ImageRef(other.image, other.number))
    with pytest.raises(ImageError, match="no differencing disk, so it can't be based on lab@1"):
        seal("kids", source=make_vhd("lone.vhd"), parent_ref=ImageRef("lab", 1))


ADOPTING = """
import os, signal, sys
from pathlib import Path
from goldherd.hooks import Hooks
from goldherd.services import importing
from goldherd.services.context import Services
from goldherd.services.directory import CatalogDirectory
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
data, source = sys.argv[1:]
services = Services(Path(data), lambda: Hooks().formats, "iqn.2026-11.io.test")
importing.import_image(services, Path(source), "lab", in_place=True, progress=die)
"""


def test_killed_adoption_gives_the_permissions_back(services: Services, make_vhd: Make) -> None:
    source = make_vhd()
    source.chmod(0o640)
    command = [sys.executable, "-c", ADOPTING, str(services.data), str(source)]
    assert subprocess.run(command, check=False).returncode == -9
    services.volumes.journal.sweep()
    assert stat.S_IMODE(source.stat().st_mode) == 0o640


def test_file_that_nobody_may_write_is_adopted_without_being_touched(
    make_vhd: Make, seal: Sealer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a read-only mount, where chmod(2) fails with EROFS."""
    source = make_vhd()
    source.chmod(0o444)

    def read_only(path: Path, mode: int) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "chmod", read_only)
    assert seal(source=source, in_place=True).path == source


@pytest.mark.parametrize("name", ["lat\udcfc.raw", "two\nlines.raw", "a?b#c%20d.raw", "comma,colon:.raw"])
def test_disk_of_any_name_is_imported(make_raw: Make, seal: Sealer, name: str) -> None:
    assert seal(source=make_raw(name)).name == "lab@1"


def test_disk_whose_path_is_no_text_is_not_adopted(services: Services, make_vhd: Make, seal: Sealer) -> None:
    source = make_vhd().rename(services.data.parent / "lat\udcfc.vhd")
    with pytest.raises(CatalogError, match="not UTF-8") as refused:
        seal(source=source, in_place=True)
    assert refused.value.kind == ErrorKind.INVALID
    assert stat.S_IMODE(source.stat().st_mode) & 0o200
    str(refused.value).encode()


@pytest.mark.parametrize("name", ["da?ta", "da#ta", "da%20ta", "da\nta", "data&mode=ro"])
def test_data_folder_of_any_text_is_used(tmp_path: Path, formats: Any, make_raw: Make, name: str) -> None:
    with Services(tmp_path / name, lambda: formats, "iqn.2026-11.io.test") as services:
        assert import_image(services, make_raw(), "lab", progress=silent).name == "lab@1"
        assert (tmp_path / name / "catalog.sqlite").exists()
        nodes.add(services, ["pc-1"], NodeSpec(image=ImageRef("lab", None)))


def test_data_folder_that_is_no_text_is_refused_before_anything_is_made(tmp_path: Path, formats: Any) -> None:
    with pytest.raises(SettingsError, match="not UTF-8"):
        Services(tmp_path / "dat\udcfc", lambda: formats, "iqn.2026-11.io.test")
    assert list(tmp_path.iterdir()) == []
