"""The plugins: what each brings, and what it did wrong in the running daemon."""

from typing import Any

from goldherd.errors import About, CatalogError, ErrorKind, GoldherdError
from goldherd.model.plugins import PluginRecord
from goldherd.services import answers, requests
from goldherd.services.context import Services


def plugins(services: Services, request: requests.ListPlugins) -> answers.Plugins:
    """plugins."""
    records = services.formats.plugins
    unknown = [name for name in request.names if name not in {record.name for record in records}]
    if unknown:
        raise CatalogError(
            f"There is no plugin {unknown[0]}: check the name.",
            kind=ErrorKind.NOT_FOUND,
            about=tuple(About("plugin", name) for name in unknown),
        )
    told = _faults(services)
    return tuple(_charged(record, told) for record in records if not request.names or record.name in request.names)


def _faults(services: Services) -> dict[str, dict[str, Any]] | None:
    """What the daemon tells of each plugin's failures, by name; None when no daemon tells."""
    try:
        daemon = services.live.status()
    except GoldherdError as error:
        if error.kind != ErrorKind.NOT_PERMITTED:
            raise
        return None
    if daemon is None or "plugins" not in daemon:
        return None
    return {plugin["name"]: plugin for plugin in daemon["plugins"]}


def _charged(record: PluginRecord, told: dict[str, dict[str, Any]] | None) -> answers.Plugin:
    """A plugin with its failures."""
    if told is None:
        return answers.Plugin(record, None, None, None)
    mine = told.get(record.name, {})
    return answers.Plugin(record, mine.get("faults", 0), mine.get("last"), mine.get("at"))
