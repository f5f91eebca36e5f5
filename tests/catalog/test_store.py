"""The SQLite file: made once, read while somebody writes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from goldherd.catalog.images import totals
from goldherd.catalog.store import Catalog
from goldherd.errors import CatalogError
from goldherd.model.images import Totals

OPENING = "import sys; from pathlib import Path; from goldherd.catalog.store import Catalog; Catalog(Path(sys.argv[1]))"


def numbers(catalog: Catalog) -> Totals:
    with catalog.read() as connection:
        return totals(connection)


def test_new_catalog_is_made_by_several_processes_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPENING, str(tmp_path / "data")]
    makers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(4)]
    for maker in makers:
        assert maker.communicate(timeout=60)[1] == b""
        assert maker.returncode == 0


def test_readers_do_not_wait_for_a_writer(catalog: Catalog) -> None:
    with Catalog(catalog.data) as other, catalog.write() as connection:
        connection.exec_driver_sql("INSERT INTO images VALUES (1, 'lab', 1, '')")
        assert numbers(other).images == 0
    assert numbers(catalog).images == 1


def test_transaction_that_an_exception_leaves_changes_nothing(catalog: Catalog) -> None:
    with pytest.raises(ZeroDivisionError), catalog.write() as connection:
        connection.exec_driver_sql("INSERT INTO images VALUES (1, 'lab', 1, '')")
        raise ZeroDivisionError
    assert numbers(catalog).images == 0


def test_reference_to_nothing_is_refused_by_the_database(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="Another command changed"), catalog.write() as connection:
        connection.exec_driver_sql("INSERT INTO macs VALUES ('52:54:00:00:00:01', 7)")


def test_damaged_catalog_is_named(catalog: Catalog) -> None:
    catalog.close()
    with catalog.path.open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(catalog.path.stat().st_size - 100))
    with pytest.raises(CatalogError, match="is damaged"), Catalog(catalog.data) as opened:
        numbers(opened)
