"""Options and arguments that several commands share, each written once."""

from pathlib import Path
from typing import Annotated

import typer

from goldherd.cli.completion import complete_image, complete_node

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
FullDiskHoldOption = Annotated[
    float | None,
    typer.Option(
        "--full-disk-hold",
        metavar="SECONDS",
        help="How long writes wait when there is no space for them, before they fail; default 600, 0 for not at all.",
    ),
]
VerifyEveryOption = Annotated[
    str | None,
    typer.Option(
        "--verify-every", metavar="TIME", help="Read every golden image whole so often: 7d (default), 12h, off."
    ),
]
VerifyRateOption = Annotated[
    str | None,
    typer.Option("--verify-rate", metavar="SIZE", help="Bytes per second of that; default 64M, 0 for no bound."),
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
