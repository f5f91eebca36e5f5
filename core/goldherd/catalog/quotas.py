"""How much space the disks of nodes may take; a node without a row has no bound."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects.sqlite import insert

from goldherd.catalog.tables import nodes, quotas
from goldherd.model.nodes import Quota


def all_quotas(connection: Connection) -> dict[str, Quota]:
    """Node to quota, of the nodes that have one."""
    query = select(nodes.c.name, quotas.c.soft_bytes, quotas.c.hard_bytes).join(quotas, quotas.c.node_id == nodes.c.id)
    return {row.name: Quota(row.soft_bytes, row.hard_bytes) for row in connection.execute(query)}


def set_quota(connection: Connection, names: Sequence[str], *, soft: int | None, hard: int | None) -> None:
    """Notes quotas in bytes, 0 for none; None leaves one as it is."""
    node = select(nodes.c.id, bindparam("soft"), bindparam("hard")).where(nodes.c.name == bindparam("node"))
    statement = insert(quotas).from_select(["node_id", "soft_bytes", "hard_bytes"], node)
    fresh = {"soft_bytes": soft, "hard_bytes": hard}
    known = {name: value for name, value in fresh.items() if value is not None}
    statement = statement.on_conflict_do_update(index_elements=["node_id"], set_=known)
    connection.execute(statement, [{"node": name, "soft": soft or 0, "hard": hard or 0} for name in names])
