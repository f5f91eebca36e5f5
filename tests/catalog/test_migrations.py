"""Catalogs of older versions are brought up to date; newer ones are refused."""

import sqlite3
from pathlib import Path

import pytest
from goldherd.catalog.images import list_versions
from goldherd.catalog.migrations import STEPS, Step, migrate, schema_number
from goldherd.catalog.nodes import list_nodes
from goldherd.catalog.store import Catalog
from goldherd.catalog.tables import metadata
from goldherd.errors import CatalogError
from goldherd.model.images import PLAIN_HASH
from sqlalchemy import inspect

VERSION_1 = Path(__file__).with_name("version1.sql")
"""A catalog as it was written with the first schema: never changed, so that it opens for ever."""


def test_catalog_of_version_1_opens_with_all_it_knows(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    connection.executescript(VERSION_1.read_text())
    connection.close()
    with Catalog(tmp_path) as catalog, catalog.read() as reader:
        (version,) = list_versions(reader, tmp_path)
        assert (version.name, version.state, version.path) == (
            "lab@1",
            "active",
            tmp_path / "images/lab@1.vhd",
        )
        assert (version.hash, version.hash_algorithm, version.source_hash) == ("aa", PLAIN_HASH, "bb")
        assert (version.sha256, version.source_sha256, version.filters) == ("aa", "bb", ())
        (node,) = list_nodes(reader, tmp_path)
        assert (node.name, node.image, node.version, node.rules) == ("pc-1", "lab", 1, ("initiator:any",))
        assert node.macs == ("52:54:00:12:34:56",)
        assert schema_number(reader) == len(STEPS)


def test_missing_steps_are_taken_in_order_and_once(catalog: Catalog) -> None:
    more = (*STEPS, Step("a", ("CREATE TABLE extra (x)",)), Step("b", ("INSERT INTO extra VALUES (1)",)))
    with catalog.write() as connection:
        assert migrate(connection, catalog.path, more) == 2
        assert migrate(connection, catalog.path, more) == 0
        assert connection.exec_driver_sql("SELECT count(*) FROM extra").scalar_one() == 1


def test_step_that_fails_leaves_the_catalog_as_it_was(catalog: Catalog) -> None:
    broken = (*STEPS, Step("a", ("CREATE TABLE extra (x)", "INSERT INTO nowhere VALUES (1)")))
    with pytest.raises(CatalogError), catalog.write() as connection:
        migrate(connection, catalog.path, broken)
    with catalog.read() as connection:
        assert schema_number(connection) == len(STEPS)
        assert not inspect(connection).has_table("extra")


def test_catalog_of_a_later_goldherd_is_refused_and_left_alone(tmp_path: Path) -> None:
    Catalog(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(CatalogError, match="later goldherd"):
        Catalog(tmp_path)
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    assert connection.execute("PRAGMA user_version").fetchone() == (99,)
    connection.close()


def test_tables_of_the_program_are_those_of_the_schema(catalog: Catalog) -> None:
    with catalog.read() as connection:
        found = inspect(connection)
        assert set(found.get_table_names()) == set(metadata.tables)
        for name, table in metadata.tables.items():
            assert [column["name"] for column in found.get_columns(name)] == [c.name for c in table.columns]
