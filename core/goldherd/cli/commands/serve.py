"""`goldherd serve`: the daemon that gives every node of the catalog its disk."""

import logging
from typing import Annotated

import typer

from goldherd.cli import logs
from goldherd.cli.context import context_of
from goldherd.cli.options import (
    CacheOption,
    ConnectionsOption,
    FullDiskHoldOption,
    ListenOption,
    ReactorsOption,
    VerifyEveryOption,
    VerifyRateOption,
)


def serve(
    context: typer.Context,
    listen: ListenOption = None,
    reactors: ReactorsOption = None,
    cache: CacheOption = None,
    connections_max: ConnectionsOption = None,
    full_disk_hold: FullDiskHoldOption = None,
    verify_every: VerifyEveryOption = None,
    verify_rate: VerifyRateOption = None,
    take_over: Annotated[int | None, typer.Option(metavar="FD", help="Used by 'goldherd upgrade' alone.")] = None,
) -> None:
    """Serves all nodes until SIGTERM or Ctrl-C; prints a 'ready HOST:PORT' line for each address."""
    from goldherd.settings import ServeSettings, server_settings

    server = server_settings(
        listen=listen,
        reactors=reactors,
        cache=cache,
        connections_max=connections_max,
        full_disk_hold=full_disk_hold,
        verify_every=verify_every,
        verify_rate=verify_rate,
    )
    found = context_of(context)
    logs.speak(logging.WARNING)
    from goldherd import app

    raise typer.Exit(app.serve(ServeSettings(found.data, server), when_ready=logs.speak, take_over=take_over))
