"""What the shell offers when Tab is pressed: names of nodes and images. Never an error, never a new file."""

from collections.abc import Callable

import typer

from goldherd.catalog.store import Catalog
from goldherd.cli.context import context_of
from goldherd.errors import GoldherdError
from goldherd.model.access import OWN, Kind
from goldherd.model.nodes import ANY_INITIATOR


def complete_node(context: typer.Context, incomplete: str) -> list[str]:
    """Nodes whose name begins so."""
    from goldherd.catalog.nodes import list_nodes

    return _beginning(incomplete, context, lambda catalog: [node.name for node in list_nodes(catalog)])


def complete_image(context: typer.Context, incomplete: str) -> list[str]:
    """Images, and versions as NAME@NUMBER, that begin so."""
    from goldherd.catalog.images import list_versions

    def names(catalog: Catalog) -> list[str]:
        versions = list_versions(catalog)
        return [*{version.image for version in versions}, *(version.name for version in versions)]

    return _beginning(incomplete, context, names)


def complete_rule(incomplete: str) -> list[str]:
    """The kinds of access rules that begin so."""
    kinds = [*(f"{kind}:" for kind in Kind), f"{Kind.MAC}:{OWN}", ANY_INITIATOR]
    return sorted(kind for kind in kinds if kind.startswith(incomplete.lower()))


def _beginning(incomplete: str, context: typer.Context, names: Callable[[Catalog], list[str]]) -> list[str]:
    try:
        catalog = context_of(context).existing_catalog()
        return sorted(name for name in names(catalog) if name.startswith(incomplete.lower())) if catalog else []
    except GoldherdError:
        return []  # the command itself will say what is wrong
