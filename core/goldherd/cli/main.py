"""The command `goldherd`: puts the command groups together and turns every failure into one sentence.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage. Nothing heavy is imported before a command needs it.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

import goldherd
from goldherd.cli import export, image, logs, node, plugins, serve, status
from goldherd.cli.context import Context
from goldherd.cli.output import complain
from goldherd.errors import GoldherdError
from goldherd.settings import default_data_folder

app = typer.Typer(
    name="goldherd",
    help="Diskless boot over iSCSI: one golden image, one differencing VHD per machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("export")(export.export)
app.command("serve")(serve.serve)
app.add_typer(image.app, name="image")
app.add_typer(node.app, name="node")
app.command("status")(status.status)
app.command("plugins")(plugins.plugins)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"goldherd {goldherd.__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    data: Annotated[
        Path | None,
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
    folder = data.expanduser() if data is not None else default_data_folder()
    context.obj = Context(folder)
    logs.configure(folder)


def main() -> None:
    """Runs the command line; the entry point of the console script."""
    logs.configure(None)
    try:
        app()
    except GoldherdError as error:
        logs.note_failure(error)
        complain(str(error))
    except OSError as error:
        logs.note_failure(error)
        named = f"{error.filename}: " if error.filename else ""
        complain(f"The system refused it: {named}{error.strerror or error}.")
    except Exception as error:
        logs.note_failure(error)
        complain(
            f"goldherd met an error of its own ({type(error).__name__}); {logs.where()}, please report it with that."
        )
    sys.exit(1)


if __name__ == "__main__":
    main()
