"""Which changes of files were decided: the record that the intent journal asks for (goldherd/files/journal.py).

It is written in the transaction that changes everything else, so files and records change together or not at all.
"""

from collections.abc import Collection

from sqlalchemy import Connection, delete, insert, select

from goldherd.catalog.tables import changes


def decide(connection: Connection, change: str, live: Collection[str]) -> None:
    """Notes, with the rest of the transaction, that a change is decided; forgets those that are no longer live."""
    known = set(connection.execute(select(changes.c.id)).scalars())
    over = sorted(known - set(live))
    if over:
        connection.execute(delete(changes).where(changes.c.id.in_(over)))
    connection.execute(insert(changes).values(id=change))


def is_decided(connection: Connection, change: str) -> bool:
    """Whether the transaction of that change was committed."""
    return connection.execute(select(changes.c.id).where(changes.c.id == change)).first() is not None
