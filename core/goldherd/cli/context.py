"""What every command starts from: the data folder, the catalog in it, and the image formats."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from goldherd.catalog.store import Catalog
from goldherd.model.images import Formats

if TYPE_CHECKING:
    from goldherd.hooks import Hooks


@dataclass(frozen=True, slots=True)
class Context:
    """The object that Typer hands to commands."""

    data: Path

    def catalog(self) -> Catalog:
        """Opens the catalog, making the data folder when it is new."""
        return Catalog(self.data)

    def existing_catalog(self) -> Catalog | None:
        """The catalog if the data folder has one; nothing is made."""
        return Catalog(self.data) if (self.data / "catalog.sqlite").is_file() else None


def context_of(context: typer.Context) -> Context:
    """The Context of a running command, also while the shell asks for completions."""
    found = context.find_root().obj
    if isinstance(found, Context):
        return found
    from goldherd.settings import default_data_folder

    named = context.find_root().params.get("data")
    return Context(Path(named).expanduser() if named else default_data_folder())


def load_hooks() -> "Hooks":
    """All plugins; they are looked for only by commands that need one."""
    from goldherd.hooks import Hooks

    return Hooks()


def load_formats() -> Formats:
    """The image formats of all plugins."""
    return load_hooks()
