"""What the shell offers when Tab is pressed: names of nodes and images. Never an error, never a new file."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from goldherd.cli.context import context_of
from goldherd.errors import GoldherdError

if TYPE_CHECKING:
    from goldherd.services.context import Services


def complete_node(context: typer.Context, incomplete: str) -> list[str]:
    """Nodes whose name begins so."""
    from goldherd.services.nodes import list_nodes

    return _beginning(incomplete, context, lambda services: [node.name for node in list_nodes(services)])


def complete_image(context: typer.Context, incomplete: str) -> list[str]:
    """Images, and versions as NAME@NUMBER, that begin so."""
    from goldherd.services.images import list_versions

    def names(services: "Services") -> list[str]:
        versions = list_versions(services)
        return [*{version.image for version in versions}, *(version.name for version in versions)]

    return _beginning(incomplete, context, names)


def complete_rule(incomplete: str) -> list[str]:
    """The kinds of access rules that begin so."""
    from goldherd.model.access import OWN, Kind
    from goldherd.model.nodes import ANY_INITIATOR

    kinds = [*(f"{kind}:" for kind in Kind), f"{Kind.MAC}:{OWN}", ANY_INITIATOR]
    return sorted(kind for kind in kinds if kind.startswith(incomplete.lower()))


def _beginning(incomplete: str, context: typer.Context, names: Callable[["Services"], list[str]]) -> list[str]:
    try:
        services = context_of(context).existing_services()
        return sorted(name for name in names(services) if name.startswith(incomplete.lower())) if services else []
    except GoldherdError:
        return []  # the command itself will say what is wrong
