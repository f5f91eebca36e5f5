"""What every command starts from: the data folder and the operations on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from goldherd.cli import logs
from goldherd.environment import default_data_folder

if TYPE_CHECKING:
    from goldherd.hooks import Hooks
    from goldherd.services.context import Services


@dataclass(frozen=True, slots=True)
class Context:
    """The object that Typer hands to commands."""

    data: Path

    def services(self) -> "Services":
        """Opens the data folder, making it when it is new."""
        logs.start()
        from goldherd.services.context import Services
        from goldherd.settings import server_settings

        return Services(self.data, load_hooks, server_settings().target_prefix)

    def existing_services(self) -> "Services | None":
        """The operations if the data folder has a catalog; nothing is made."""
        return self.services() if (self.data / "catalog.sqlite").is_file() else None


def context_of(context: typer.Context) -> Context:
    """The Context of a running command, also while the shell asks for completions."""
    found = context.find_root().obj
    if isinstance(found, Context):
        return found
    named = context.find_root().params.get("data")
    return Context(Path(named).expanduser() if named else default_data_folder())


def load_hooks() -> "Hooks":
    """All plugins; they are looked for only by commands that need one."""
    logs.start()
    from goldherd.hooks import Hooks

    return Hooks()
