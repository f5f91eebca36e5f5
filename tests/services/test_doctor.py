"""A catalog that was lost: refused when it is served, and made anew from the files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from goldherd.errors import CatalogError, ErrorKind
from goldherd.model.images import ImageRef, VersionRecord
from goldherd.model.nodes import NodeSpec
from goldherd.services import images, nodes, requests
from goldherd.services.context import Services
from goldherd.services.importing import SealedOpener
from goldherd.services.installation import refuse_lost_records
from goldherd.services.operations import run

Sealer = Callable[..., VersionRecord]
REBUILD = "doctor.rebuild_catalog"


@pytest.fixture
def reopen(services: Services, formats: Any) -> Callable[[], Services]:
    def do() -> Services:
        return Services(services.data, lambda: formats, services.prefix)

    return do


@pytest.fixture
def filled(services: Services, seal: Sealer, make_vhd: Callable[..., Path]) -> None:
    base = make_vhd("base.vhd")
    seal("zbase", base)
    seal("patch", make_vhd("patch.vhd", parent=base))
    seal("patch", make_vhd("other.vhd", parent=base))
    nodes.add(services, ["pc-1", "pc-2"], NodeSpec(image=ImageRef("patch", 1)))
    nodes.add(services, ["pc-3"], NodeSpec(image=ImageRef("patch", 2), chap_user="u", chap_secret=b"secret-secret"))


def lose(services: Services, how: str) -> None:
    services.close()
    for path in services.data.glob("catalog.sqlite*"):
        path.unlink()
    if how == "empty":
        (services.data / "catalog.sqlite").touch()
    if how == "damaged":
        (services.data / "catalog.sqlite").write_bytes(b"no database, but long enough to look like one" * 100)


@pytest.mark.parametrize("how", ["deleted", "empty"])
def test_lost_catalog_is_not_served(services: Services, filled: None, reopen: Callable[[], Services], how: str) -> None:
    refuse_lost_records(services)
    lose(services, how)
    with reopen() as opened, pytest.raises(CatalogError, match="knows none of the 3 golden images") as refused:
        refuse_lost_records(opened)
    assert refused.value.kind == ErrorKind.RECORDS_LOST


def test_catalog_of_another_installation_is_not_served(
    services: Services, filled: None, reopen: Callable[[], Services], formats: Any, tmp_path: Path, make_raw: Any
) -> None:
    with Services(tmp_path / "other", lambda: formats, services.prefix) as other:
        run(other, "image.import", requests.ImportImage(str(make_raw()), "lab"))
    lose(services, "deleted")
    (tmp_path / "other" / "catalog.sqlite").rename(services.data / "catalog.sqlite")
    with reopen() as opened, pytest.raises(CatalogError, match="knows none"):
        refuse_lost_records(opened)


def test_new_data_folder_and_adopted_images_are_served(
    services: Services, seal: Sealer, make_vhd: Callable[..., Path]
) -> None:
    refuse_lost_records(services)
    seal("lab", make_vhd(), in_place=True)
    nodes.add(services, ["pc-1"], NodeSpec(image=ImageRef("lab", None)))
    refuse_lost_records(services)


@pytest.mark.parametrize("how", ["deleted", "empty", "damaged"])
def test_catalog_is_made_from_what_lies_there(
    services: Services, filled: None, reopen: Callable[[], Services], how: str
) -> None:
    before = {version.name: (version.sha256, version.parent) for version in images.list_versions(services)}
    lose(services, how)
    with reopen() as opened:
        rebuilt = run(opened, REBUILD, requests.RebuildCatalog())
        assert rebuilt.versions == ("patch@1", "patch@2", "zbase@1")
        assert rebuilt.nodes == ("pc-1", "pc-2", "pc-3")
        assert (rebuilt.moved_aside is None) == (how == "deleted")
        found = images.list_versions(opened)
        assert {version.name: (version.sha256, version.parent) for version in found} == before
        assert {version.name: version.state for version in found} == {
            "patch@1": "sealed",
            "patch@2": "active",
            "zbase@1": "active",
        }
        records = {node.name: node for node in nodes.list_nodes(opened)}
        assert [(node.version, node.pinned) for node in records.values()] == [(1, True), (1, True), (2, False)]
        # A node that had to prove itself is not opened to everybody.
        assert [node.chap_user for node in records.values()] == [None, None, "pc-3"]
        assert any("MAC addresses" in sentence for sentence in rebuilt.unknown)
        refuse_lost_records(opened)
    with reopen() as again:
        assert len(images.list_versions(again)) == 3


def test_numbers_go_on_after_those_that_lie_there(
    services: Services, filled: None, reopen: Callable[[], Services], make_raw: Callable[..., Path]
) -> None:
    lose(services, "deleted")
    with reopen() as opened:
        run(opened, REBUILD, requests.RebuildCatalog())
        version = run(opened, "image.import", requests.ImportImage(str(make_raw()), "patch"))
        assert version.name == "patch@3"


def test_dry_run_makes_nothing(services: Services, filled: None, reopen: Callable[[], Services]) -> None:
    lose(services, "deleted")
    with reopen() as opened:
        rebuilt = run(opened, REBUILD, requests.RebuildCatalog(dry_run=True))
    assert (len(rebuilt.versions), rebuilt.nodes, rebuilt.dry_run) == (3, ("pc-1", "pc-2", "pc-3"), True)
    assert list(services.data.glob("catalog*")) == []


def test_disk_in_use_keeps_the_catalog_as_it_is(services: Services, filled: None) -> None:
    disk = services.volumes.overlay("pc-1", "patch", 1, "vhd")
    running = services.formats.open(f"vhd:{disk}", "rw", SealedOpener(services))
    with pytest.raises(CatalogError, match="the disk of pc-1 is in use"):
        run(services, REBUILD, requests.RebuildCatalog())
    running.close()
    assert len(images.list_versions(services)) == 3


def test_file_that_is_no_golden_image_is_named_and_left_out(
    services: Services, filled: None, reopen: Callable[[], Services]
) -> None:
    (services.volumes.images / "notes.txt").write_text("mine")
    (services.volumes.overlays / "pc-9.gone@4.vhd").write_bytes(b"x" * 512)
    lose(services, "deleted")
    with reopen() as opened:
        unknown = run(opened, REBUILD, requests.RebuildCatalog()).unknown
    assert any("notes.txt" in sentence for sentence in unknown)
    assert any(sentence.startswith("pc-9 is left out") for sentence in unknown)
