"""`goldherd plugins`: what is installed, and what could not be loaded and why."""

from goldherd.cli.context import load_hooks
from goldherd.cli.options import Json
from goldherd.cli.output import show_json, show_table


def plugins(as_json: Json = False) -> None:
    """Lists the plugins: image formats, authentication, discovery."""
    hooks = load_hooks()
    found: list[tuple[str, str, str | None]] = [(name, "loaded", None) for name in hooks.names]
    found += [(declined.name, "declined", declined.reason) for declined in hooks.declined]
    if as_json:
        show_json([{"name": name, "state": state, "reason": reason} for name, state, reason in found])
        return
    show_table(("PLUGIN", "STATE", "REASON"), [(name, state, reason or "-") for name, state, reason in found])
