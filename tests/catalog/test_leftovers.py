"""Files that a change which died has left are swept by the next one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from goldherd.catalog import Catalog, VersionRecord
from goldherd.catalog.leftovers import change, sweep


def test_listed_file_that_nobody_knows_is_removed_after_the_change(catalog: Catalog) -> None:
    made = catalog.overlays / "pc-1.lab@1.vhd"
    with change(catalog, [made]):
        made.write_bytes(b"x")
    assert not made.exists()
    assert list(catalog.changes.glob("*.list")) == []


def test_listed_file_that_the_catalog_knows_stays(catalog: Catalog, seal: Callable[..., VersionRecord]) -> None:
    version = seal()
    with change(catalog, [version.path]):
        pass
    assert version.path.exists()


def test_file_that_is_not_listed_is_nobodys_business(catalog: Catalog) -> None:
    stranger = catalog.overlays / "pc-2.lab@1.vhd"
    stranger.write_bytes(b"x")
    with change(catalog, [catalog.overlays / "pc-1.lab@1.vhd"]):
        pass
    sweep(catalog)
    assert stranger.exists()


def test_half_written_file_of_a_plugin_goes_with_the_listed_one(catalog: Catalog) -> None:
    half = catalog.overlays / ".pc-1.lab@1.vhd.0badcafe.new"
    other = catalog.overlays / ".pc-2.lab@1.vhd.0badcafe.new"
    for path in (half, other):
        path.write_bytes(b"x")
    with change(catalog, [catalog.overlays / "pc-1.lab@1.vhd"]):
        pass
    assert (half.exists(), other.exists()) == (False, True)


def test_change_that_fails_removes_its_files_too(catalog: Catalog) -> None:
    made = catalog.images / "lab@1.vhd"
    with pytest.raises(ZeroDivisionError), change(catalog) as running:
        running.add([made])
        made.write_bytes(b"x")
        raise ZeroDivisionError
    assert not made.exists()


def test_running_change_of_another_is_left_alone(catalog: Catalog) -> None:
    made = catalog.images / "lab@1.vhd"
    with change(catalog, [made]):
        made.write_bytes(b"x")
        with Catalog(catalog.data) as other:
            sweep(other)
        assert made.exists()


def test_line_that_a_crash_cut_off_names_no_file(catalog: Catalog, tmp_path: Path) -> None:
    cut = catalog.images / "lab"
    cut.write_bytes(b"x")
    (catalog.changes / "dead.list").write_text(f"{catalog.images / 'lab@1.vhd'}\n{cut}")
    sweep(catalog)
    assert cut.exists()
    assert list(catalog.changes.glob("*.list")) == []
