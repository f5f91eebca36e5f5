"""Options and arguments that several commands share, each written once."""

from pathlib import Path
from typing import Annotated

import typer

from goldherd.cli.completion import complete_image, complete_node
from goldherd.errors import SettingsError

Json = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Needed where there is no terminal.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")]
ListenOption = Annotated[
    list[str] | None,
    typer.Option(
        "--listen",
        metavar="HOST:PORT[,TAG]",
        help="Where to listen, [ADDRESS]:PORT for IPv6; may be repeated. TAG is the portal group (default 1); "
        "=HOST:PORT behind it is announced instead, for clients behind address translation.",
    ),
]
ReactorsOption = Annotated[
    int | None,
    typer.Option("--reactors", metavar="N", help="Data plane threads; default one per spare core, 0 for none."),
]
CacheOption = Annotated[
    str | None,
    typer.Option("--cache", metavar="SIZE", help="Memory for golden images: 8G or 50%. Default: half of it."),
]
ConnectionsOption = Annotated[
    int | None,
    typer.Option(
        "--connections-max",
        metavar="N",
        help="Connections one session may have (MC/S); default 1: several paths are several sessions.",
    ),
]
ChapUserOption = Annotated[str | None, typer.Option("--chap-user", metavar="NAME", help="CHAP user name.")]
ChapSecretOption = Annotated[
    Path | None, typer.Option("--chap-secret-file", metavar="FILE", help="File with the CHAP secret.")
]
Nodes = Annotated[
    list[str],
    typer.Argument(metavar="NODES...", help="Names and ranges such as 'pc-[001-040]'.", autocompletion=complete_node),
]
Version = Annotated[
    str, typer.Argument(metavar="NAME[@VERSION]", help="An image or version.", autocompletion=complete_image)
]


def read_chap(user: str | None, secret_file: Path | None, what: str = "--chap") -> bytes | None:
    """The secret that goes with a CHAP user name; both are given or neither."""
    from goldherd.cli.output import complain
    from goldherd.limits import CHAP_SECRET_BYTES_MIN
    from goldherd.services.secrets import read_secret_file

    if (user is None) != (secret_file is None):
        raise typer.BadParameter(f"{what}-user and {what}-secret-file belong together: give both.")
    if secret_file is None:
        return None
    if not user:
        raise SettingsError(f"{what}-user is empty: give the name that the initiator will send.")
    secret = read_secret_file(secret_file)
    if len(secret) < CHAP_SECRET_BYTES_MIN:
        complain(
            f"Warning: the secret in {secret_file} has {len(secret)} bytes; RFC 7143 asks for "
            f"{CHAP_SECRET_BYTES_MIN} at least, and Windows refuses fewer."
        )
    return secret
