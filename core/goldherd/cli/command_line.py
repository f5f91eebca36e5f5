"""All commands of `goldherd`, and how one of them is run.

No module of this room imports anything heavy before a command needs it: the catalog, the settings, the plugins and the
server are imported inside the functions that use them, and tests/cli/test_startup.py holds what each command may load.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

import goldherd
from goldherd.cli import completion, logs
from goldherd.cli.commands import daemon, doctor, export, image, node, plugins, serve, status, upgrade
from goldherd.cli.context import Context
from goldherd.cli.exit_codes import REFUSED
from goldherd.cli.hints import hint_for
from goldherd.cli.output import complain, show_error
from goldherd.environment import act_as_owner_of, check_variables, default_data_folder
from goldherd.errors import GoldherdError

NAME: Final = "goldherd"
USAGE_ERRORS: Final[tuple[type[Any], ...]] = typer.BadParameter.__mro__[1:3]
"""UsageError and ClickException, which Typer shows to no importer by name."""

app = typer.Typer(
    name=NAME,
    help="Diskless boot over iSCSI: one golden image, one differencing VHD per machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("export")(export.export)
app.command("serve")(serve.serve)
app.add_typer(image.app, name="image")
app.add_typer(node.app, name="node")
app.command("status")(status.show)
app.command("upgrade")(upgrade.upgrade)
app.command("drain")(daemon.drain)
app.command("stop")(daemon.stop)
app.command("plugins")(plugins.plugins)
app.command("doctor")(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{NAME} {goldherd.__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="The data folder: catalog, golden images, disks. Default: $GOLDHERD_DATA, else "
            "/var/lib/goldherd for root and ~/.local/share/goldherd for others.",
        ),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Shows the version.")
    ] = False,
) -> None:
    """Diskless boot over iSCSI: one golden image, one differencing VHD per machine."""
    for name in check_variables(os.environ):
        complain(f"Warning: the environment variable {name} means nothing to goldherd.")
    folder = Path(data).expanduser() if data is not None else default_data_folder()
    act_as_owner_of(folder)
    context.obj = Context(folder)
    logs.choose_folder(folder)


@functools.cache
def command_line() -> Any:
    """The commands as Click objects. A value that was not given, or need not be converted, costs no import.

    Typer loads pydantic to convert even None, which is most of what `goldherd image --help` and a completion would do.
    """

    def lighten(command: Any) -> None:
        for parameter in (*command.params, command.get_help_option(typer.Context(command))):
            parameter.process_value = functools.partial(_value, parameter, parameter.process_value)
        for inner in getattr(command, "commands", {}).values():
            lighten(inner)

    completion.install_script()
    command = typer.main.get_command(app)
    lighten(command)
    return command


def _value(parameter: Any, convert: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    """A parameter's value, converted by Typer only where that does something."""
    if context.resilient_parsing or parameter.name == "data":
        return value
    if isinstance(value, bool) or (value is None and not parameter.required):
        if value is None and (parameter.multiple or parameter.nargs == -1):
            value = ()
        return value if parameter.callback is None else parameter.callback(context, parameter, value)
    return convert(context, value)


def run(arguments: Sequence[str]) -> int:
    """Runs one command line; its exit code. KeyboardInterrupt and what it leaves half-made are the command's."""
    logs.choose_folder(None)
    try:
        code = command_line().main(list(arguments), prog_name=NAME, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except SystemExit as end:  # of --show-completion, and of a reader that has gone
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except USAGE_ERRORS as error:
        error.show()
        _as_json(arguments, "usage", [], error.format_message())
        return int(error.exit_code)
    except typer.Abort:
        return _failed(arguments, "declined", [], "Nothing was done.")
    except GoldherdError as error:
        logs.note_failure(error)
        return _failed(arguments, error.kind, error.about, str(error), hint_for(error))
    except OSError as error:
        logs.note_failure(error)
        about = [("file", str(error.filename))] if error.filename else []
        reason = f"The system refused it: {''.join(f'{name}: ' for _, name in about)}{error.strerror or error}."
        return _failed(arguments, "system", about, reason)
    except Exception as error:
        logs.note_failure(error)
        reason = f"goldherd met an error of its own ({type(error).__name__}); {logs.where()}, please report it."
        return _failed(arguments, "internal", [], reason)


def _failed(
    arguments: Sequence[str], kind: str, about: Sequence[tuple[str, str]], reason: str, hint: str | None = None
) -> int:
    """Says why a command failed, in a sentence and, if that was asked for, in JSON; the exit code."""
    complain(f"{reason} {hint}" if hint else reason)
    _as_json(arguments, kind, about, reason, hint)
    return REFUSED


def _as_json(
    arguments: Sequence[str], kind: str, about: Sequence[tuple[str, str]], reason: str, hint: str | None = None
) -> None:
    """A program that asked for JSON gets one document whatever happens. Its reader may be what failed."""
    if "--json" in arguments:
        with contextlib.suppress(OSError, typer.Exit):
            show_error(kind, about, reason, hint)
