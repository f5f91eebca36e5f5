"""What every command starts from: the data folder and the client that asks for operations on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from goldherd.cli import logs, output
from goldherd.environment import default_data_folder, target_prefix
from goldherd.errors import ErrorKind, SettingsError

if TYPE_CHECKING:
    from goldherd.client import Client
    from goldherd.hooks import Hooks


@dataclass(frozen=True, slots=True)
class Context:
    """The object that Typer hands to commands."""

    data: Path

    def client(self, *, new: bool = False) -> "Client":
        """The door to the operations on the data folder; only a command that can begin a herd (`new`) makes one.

        Raises SettingsError when there is none: a command that only reads would show an empty one after a typo.
        """
        if not new:
            self.check()
        logs.start()
        return self.glance()

    def glance(self) -> "Client":
        """The same for operations that make nothing, log nothing, and answer for a folder without a catalog as well."""
        from goldherd.client import Client, Local

        return Client(Local(self.data, lambda: load_hooks().formats, target_prefix()))

    def check(self) -> None:
        """SettingsError when there is no such folder, when it holds no catalog, or when it may not be read."""
        self.check_folder()
        try:
            found = not self.data.is_dir() or (self.data / "catalog.sqlite").exists()
        except PermissionError as error:
            raise self._unreadable() from error
        if not found:
            raise SettingsError(
                f"The folder {self.data} holds no catalog: check --data and GOLDHERD_DATA; 'goldherd image import' "
                "begins one."
            )

    def check_folder(self) -> None:
        """SettingsError when there is no such folder, or when that may not be told."""
        try:
            found = self.data.exists()
        except PermissionError as error:
            raise self._unreadable() from error
        if not found:
            raise SettingsError(
                f"There is no data folder {self.data}{_alike(self.data.absolute())}: check --data and GOLDHERD_DATA; "
                "'goldherd image import' makes a new one."
            )

    def _unreadable(self) -> SettingsError:
        return SettingsError(
            f"The data folder {self.data} may not be read: run this as the user who owns it, or as one of its group.",
            kind=ErrorKind.NOT_PERMITTED,
        )


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
