"""Versions of an image: references, activation, retirement, removal."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from goldherd.errors import About, CatalogError, ErrorKind, ImageError
from goldherd.model.images import ImageRef, VersionRecord
from goldherd.model.nodes import NodeSpec
from goldherd.services import images, nodes, requests
from goldherd.services.context import Services
from goldherd.services.importing import SealedOpener
from goldherd.services.operations import run
from goldherd.volumes.sealing import verify_sealed

from tests.services.conftest import lying

Sealer = Callable[..., VersionRecord]


def quiet(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def states(services: Services) -> dict[str, str]:
    return {version.name: version.state for version in images.list_versions(services)}


def add_node(services: Services, name: str, image: ImageRef) -> None:
    nodes.add(services, [name], NodeSpec(image=image))


def damage(path: Path, offset_bytes: int) -> None:
    """Changes one byte and hides it: size, times and mode stay as they were."""
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(offset_bytes)
        byte = file.read(1)[0]
        file.seek(offset_bytes)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.chmod(before.st_mode & 0o777)


def test_reference_without_number_means_the_active_version(services: Services, seal: Sealer) -> None:
    seal()
    seal()
    images.activate(services, ImageRef("lab", 2))
    assert images.get_version(services, ImageRef("lab", None)).name == "lab@2"
    assert states(services) == {"lab@1": "sealed", "lab@2": "active"}


def test_activating_twice_changes_nothing(services: Services, seal: Sealer) -> None:
    seal()
    assert images.activate(services, ImageRef("lab", 1)) is False


def test_older_version_can_be_made_active_again(services: Services, seal: Sealer) -> None:
    seal()
    seal()
    assert images.activate(services, ImageRef("lab", 2))
    assert images.activate(services, ImageRef("lab", 1))
    assert states(services) == {"lab@1": "active", "lab@2": "sealed"}


@pytest.mark.parametrize("ref", [ImageRef("none", None), ImageRef("none", 1), ImageRef("lab", 9)])
def test_unknown_image_or_version_is_refused(services: Services, seal: Sealer, ref: ImageRef) -> None:
    seal()
    with pytest.raises(CatalogError, match=f"There is no (image|version) {ref}"):
        images.get_version(services, ref)


def test_nodes_of_a_version_are_named_in_natural_order(services: Services, seal: Sealer) -> None:
    seal()
    for name in ("pc-11", "pc-2", "pc-1"):
        add_node(services, name, ImageRef("lab", None))
    with pytest.raises(CatalogError, match="it is the disk of pc-1, pc-2, pc-11"):
        images.remove(services, ImageRef("lab", 1))


def test_version_with_nodes_is_neither_retired_nor_removed(services: Services, seal: Sealer) -> None:
    seal()
    seal()
    add_node(services, "follows", ImageRef("lab", None))
    add_node(services, "pinned", ImageRef("lab", 2))
    for number, user in ((1, "follows"), (2, "pinned")):
        for operation in (images.retire, images.remove):
            with pytest.raises(CatalogError, match=f"it is the disk of {user}"):
                operation(services, ImageRef("lab", number))
    assert states(services) == {"lab@1": "active", "lab@2": "sealed"}


def test_retired_version_is_kept_and_can_come_back(services: Services, seal: Sealer) -> None:
    version = seal()
    assert images.retire(services, ImageRef("lab", 1))
    assert not images.retire(services, ImageRef("lab", 1))
    assert version.path.exists()
    with pytest.raises(CatalogError, match="no active version"):
        images.get_version(services, ImageRef("lab", None))
    assert images.activate(services, ImageRef("lab", 1))


def test_removed_version_takes_its_file_and_old_disks_along(services: Services, seal: Sealer) -> None:
    first = seal()
    add_node(services, "pc", ImageRef("lab", None))
    seal()
    images.activate(services, ImageRef("lab", 2))
    removed = images.remove(services, ImageRef("lab", 1))
    assert (removed.names, removed.disks) == (("lab@1",), 1)
    assert not first.path.exists()
    assert lying(services.volumes.overlays) == []


def test_number_of_a_removed_version_is_not_given_again(services: Services, seal: Sealer) -> None:
    seal()
    seal()
    images.remove(services, ImageRef("lab", 2))
    assert seal().name == "lab@3"


def test_version_whose_disk_a_machine_has_open_is_not_removed(services: Services, seal: Sealer) -> None:
    """Import twice, run a node on the first version, activate the second, retire the first, remove it."""
    first = seal()
    add_node(services, "pc", ImageRef("lab", None))
    seal()
    disk = services.volumes.overlay("pc", "lab", 1, "vhd")
    running = services.formats.open(f"vhd:{disk}", "rw", SealedOpener(services, first.path))
    try:
        images.activate(services, ImageRef("lab", 2))
        images.retire(services, ImageRef("lab", 1))
        running.write(0, memoryview(b"acknowledged" + bytes(500)))
        for dry_run in (True, False):
            with pytest.raises(CatalogError, match="the disk of pc is in use") as refused:
                images.remove(services, ImageRef("lab", 1), dry_run=dry_run)
            assert refused.value.kind == ErrorKind.IN_USE
            assert About("node", "pc") in refused.value.about
        running.flush()
    finally:
        running.close()
    assert disk.exists() and first.path.exists()
    assert images.remove(services, ImageRef("lab", 1)).files == (str(first.path), str(disk))
    assert not disk.exists() and not first.path.exists()


def test_dry_run_names_what_would_go_and_touches_nothing(services: Services, seal: Sealer) -> None:
    version = seal()
    removed = images.remove(services, ImageRef("lab", 1), dry_run=True)
    assert (removed.names, removed.files, removed.dry_run) == (("lab@1",), (str(version.path),), True)
    assert states(services) == {"lab@1": "active"} and version.path.exists()


def test_all_versions_go_only_when_that_is_said(services: Services, seal: Sealer) -> None:
    seal()
    with pytest.raises(CatalogError, match="names an image, not a version") as refused:
        images.remove(services, ImageRef("lab", None))
    assert refused.value.kind == ErrorKind.UNCONFIRMED
    assert states(services) == {"lab@1": "active"}


def test_whole_image_is_removed_children_first(services: Services, make_vhd: Callable[..., Path], seal: Sealer) -> None:
    base = make_vhd("base.vhd")
    seal("lab", base)
    seal("lab", make_vhd("child.vhd", parent=base))
    images.remove(services, ImageRef("lab", None), all_versions=True)
    assert images.list_versions(services) == []
    assert lying(services.volumes.images) == []


def test_parent_of_another_version_is_not_removed(
    services: Services, make_vhd: Callable[..., Path], seal: Sealer
) -> None:
    base = make_vhd("base.vhd")
    seal("base", base)
    seal("patch", make_vhd("child.vhd", parent=base))
    with pytest.raises(CatalogError, match="patch@1 is a differencing child"):
        images.remove(services, ImageRef("base", 1))
    assert states(services) == {"base@1": "active", "patch@1": "active"}


def test_file_adopted_in_place_outlives_its_version(
    services: Services, make_vhd: Callable[..., Path], seal: Sealer
) -> None:
    version = seal(source=make_vhd(), in_place=True)
    images.remove(services, ImageRef("lab", 1))
    assert version.path.exists()


def test_data_folder_can_move(services: Services, seal: Sealer, tmp_path: Path) -> None:
    seal()
    services.close()
    services.data.rename(tmp_path / "moved")
    with Services(tmp_path / "moved", lambda: services.formats, services.prefix) as moved:
        verify_sealed(images.get_version(moved, ImageRef("lab", None)))


def test_version_is_found_by_every_name_of_its_file(services: Services, seal: Sealer, tmp_path: Path) -> None:
    version = seal()
    (tmp_path / "symbolic").symlink_to(version.path)
    (tmp_path / "hard").hardlink_to(version.path)
    (tmp_path / "copy").write_bytes(version.path.read_bytes())
    for path in (version.path, tmp_path / "symbolic", tmp_path / "hard"):
        assert images.version_at(services, path) == version
    assert images.version_at(services, tmp_path / "copy") is None
    assert images.version_at(services, tmp_path / "missing") is None


def test_untouched_file_keeps_its_seal(seal: Sealer) -> None:
    verify_sealed(seal())


@pytest.mark.parametrize("where", [0, 4096, -1, -512])
def test_hidden_change_of_head_or_tail_breaks_the_seal(seal: Sealer, where: int) -> None:
    version = seal()
    damage(version.path, where % version.seal.file_bytes)
    with pytest.raises(ImageError, match="was changed after it was sealed"):
        verify_sealed(version)


def test_change_in_the_middle_shows_in_the_time(seal: Sealer, make_raw: Callable[..., Path]) -> None:
    version = seal(source=make_raw(size_bytes=4 << 20))
    version.path.chmod(0o644)
    with version.path.open("r+b") as file:
        file.seek(2 << 20)
        file.write(b"x")
    with pytest.raises(ImageError, match="its modification time differs"):
        verify_sealed(version)


def test_longer_and_missing_files_are_refused(seal: Sealer) -> None:
    version = seal()
    version.path.chmod(0o644)
    with version.path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(ImageError, match="its size differs"):
        verify_sealed(version)
    version.path.unlink()
    with pytest.raises(ImageError, match="can't be read"):
        verify_sealed(version)


def test_changed_version_is_not_activated(services: Services, seal: Sealer) -> None:
    seal()
    second = seal()
    os.utime(second.path, ns=(1, 1))
    with pytest.raises(ImageError, match="was changed"):
        images.activate(services, ImageRef("lab", 2))


def test_totals_count_what_there_is(services: Services, seal: Sealer) -> None:
    version = seal()
    add_node(services, "pc", ImageRef("lab", None))
    found = run(services, "status", requests.ShowStatus()).catalog
    assert (found.images, found.versions, found.nodes) == (1, 1, 1)
    assert found.golden_bytes == version.seal.file_bytes
