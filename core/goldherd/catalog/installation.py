"""Queries about the installation itself: its id, and whether its folders carry their marks."""

from sqlalchemy import Connection, insert, select, update

from goldherd.catalog.tables import installation
from goldherd.model.installation import Installation


def find(connection: Connection) -> Installation:
    """Which installation this catalog belongs to."""
    row = connection.execute(select(installation)).one()
    return Installation(row.id, bool(row.names_disks))


def is_marked(connection: Connection) -> bool:
    """Whether the folders of disks were marked with the id."""
    return bool(connection.execute(select(installation.c.marked)).scalar_one())


def set_marked(connection: Connection) -> None:
    """Notes that they were."""
    connection.execute(update(installation).values(marked=1))


def replace(connection: Connection, known: Installation) -> None:
    """Makes the catalog that of a known installation, for one that is built anew."""
    connection.execute(installation.delete())
    values = {"id": known.id, "names_disks": int(known.names_disks), "marked": 0}
    connection.execute(insert(installation).values(values))
