"""What operations answer without opening the catalog: the status, and names for completion.

Nothing is made, migrated or locked, and neither the database library nor a plugin is loaded before it is needed: a
shell asks for names at every press of Tab.
"""

from typing import get_args

from goldherd.catalog import glance
from goldherd.errors import About, CatalogError, ErrorKind, GoldherdError
from goldherd.model.images import Totals
from goldherd.services import answers, requests
from goldherd.services.context import Services


def status(services: Services, request: requests.ShowStatus) -> answers.Status:  # noqa: ARG001 - every line has a request
    """status."""
    numbers = Totals(*glance.totals(services.data))
    try:
        daemon, withheld = services.live.status(), None
    except GoldherdError as error:
        if error.kind != ErrorKind.NOT_PERMITTED:
            raise
        daemon, withheld = None, str(error)
    return answers.Status(str(services.data), numbers, daemon is not None or withheld is not None, daemon, withheld)


def names(services: Services, request: requests.FindNames) -> answers.Names:
    """names."""
    found = sorted(name for name in _names(services, request.kind) if name.startswith(request.beginning.lower()))
    return tuple(found)


def _names(services: Services, kind: requests.NameKind) -> set[str]:
    """All names of a kind."""
    match kind:
        case "node":
            return set(glance.node_names(services.data))
        case "version":
            return set(glance.version_names(services.data))
        case "image":
            return {name.partition("@")[0] for name in glance.version_names(services.data)}
    plugins = services.formats.plugins
    match kind:
        case "plugin":
            return {plugin.name for plugin in plugins}
        case "format":
            return {name for plugin in plugins for name in plugin.formats}
        case "filter":
            return {name for plugin in plugins for name in plugin.filters}
    raise CatalogError(
        f"There are no names of the kind '{kind}': it is one of {', '.join(get_args(requests.NameKind))}.",
        kind=ErrorKind.INVALID,
        about=(About("field", "kind"),),
    )
