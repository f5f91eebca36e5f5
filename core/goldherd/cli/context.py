"""What every command starts from: the data folder and the operations on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from goldherd.cli import logs, output
from goldherd.environment import default_data_folder
from goldherd.errors import SettingsError

if TYPE_CHECKING:
    from goldherd.hooks import Hooks
    from goldherd.model.progress import Progress
    from goldherd.services.context import Services


@dataclass(frozen=True, slots=True)
class Context:
    """The object that Typer hands to commands."""

    data: Path

    def services(self, *, new: bool = False) -> "Services":
        """Opens the data folder; only a command that can begin a herd (`new`) makes one.

        Raises SettingsError when there is none: a command that only reads would show an empty one after a typo.
        """
        if not new:
            self.check()
        logs.start()
        from goldherd.services.context import Services
        from goldherd.settings import server_settings

        return Services(self.data, lambda: load_hooks().formats, server_settings().target_prefix)

    def ask(self, operation: str, request: object, progress: "Progress | None" = None, *, new: bool = False) -> Any:
        """Does one operation of services/operations.py and gives its answer: the door that every command may use."""
        from goldherd.model.progress import silent
        from goldherd.services import operations

        with self.services(new=new) as services:
            return operations.run(services, operation, request, progress or silent)

    def check(self) -> None:
        """SettingsError when there is no such folder, or when it holds no catalog."""
        if not self.data.exists():
            raise SettingsError(
                f"There is no data folder {self.data}{_alike(self.data.absolute())}: check --data and GOLDHERD_DATA; "
                "'goldherd image import' makes a new one."
            )
        if self.data.is_dir() and not (self.data / "catalog.sqlite").exists():
            raise SettingsError(
                f"The folder {self.data} holds no catalog: check --data and GOLDHERD_DATA; 'goldherd image import' "
                "begins one."
            )

    def existing_services(self) -> "Services | None":
        """The operations if the data folder has a catalog; nothing is made."""
        return self.services() if (self.data / "catalog.sqlite").is_file() else None


def _alike(folder: Path) -> str:
    """A hint at a folder beside it whose name is nearly the same."""
    from difflib import get_close_matches

    try:
        names = [entry.name for entry in folder.parent.iterdir() if entry.is_dir()]
    except OSError:
        names = []
    alike = get_close_matches(folder.name, names, n=1)
    return f" (there is {folder.parent / alike[0]})" if alike else ""


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

    with output.kept_clean():
        return Hooks()
