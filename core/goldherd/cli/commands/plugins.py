"""`goldherd plugins`: what is installed, what it brings, what it did wrong, and what could not be loaded and why."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from goldherd.cli.completion import complete_plugin
from goldherd.cli.context import context_of
from goldherd.cli.options import Json
from goldherd.cli.output import count_text, say, show_json, show_table

if TYPE_CHECKING:
    from goldherd.services.answers import Plugin


def plugin_json(plugin: "Plugin") -> dict[str, Any]:
    """A plugin as programs see it (docs/cli.md)."""
    record = plugin.record
    return {
        "name": record.name,
        "state": record.state,
        "reason": record.reason,
        "version": record.version,
        "abi": record.abi,
        "formats": list(record.formats),
        "filters": list(record.filters),
        "hooks": list(record.hooks),
        "faults": plugin.faults,
        "last_fault": plugin.last_fault,
        "fault_at": plugin.fault_at,
    }


def plugins(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PLUGINS...]", help="Only these.", autocompletion=complete_plugin),
    ] = None,
    as_json: Json = False,
) -> None:
    """Lists the plugins: what they bring, whether they are used, and how often they failed in the running daemon."""
    from goldherd.services.requests import ListPlugins

    with context_of(context).glance() as client:
        found = client.ask(ListPlugins(tuple(names or ())))
    if as_json:
        show_json([plugin_json(plugin) for plugin in found])
        return
    show_table(
        ("PLUGIN", "STATE", "VERSION", "FORMATS", "FILTERS", "FAULTS", "HOOKS"),
        [
            (
                plugin.record.name,
                plugin.record.state,
                _version_text(plugin),
                " ".join(plugin.record.formats) or "-",
                " ".join(plugin.record.filters) or "-",
                "-" if plugin.faults is None else str(plugin.faults),
                " ".join(plugin.record.hooks) or "-",
            )
            for plugin in found
        ],
        dispensable=("HOOKS", "VERSION", "FILTERS"),
    )
    for plugin in found:
        if plugin.record.reason is not None:
            say(plugin.record.reason)
        if plugin.faults:
            say(fault_text(plugin.record.name, plugin.faults, plugin.last_fault, plugin.fault_at))


def fault_text(name: str, faults: int, last: str | None, at: str | None) -> str:
    """What a plugin did wrong in the running daemon; its last fault is a sentence that names it."""
    return f"Plugin {name}: {count_text(faults, 'fault')}, the last at {at or 'an unknown time'}. {last or ''}".rstrip()


def _version_text(plugin: "Plugin") -> str:
    """The version, and the image ABI of a compiled plugin."""
    version, abi = plugin.record.version or "-", plugin.record.abi
    return version if abi is None else f"{version} (ABI {abi})"
