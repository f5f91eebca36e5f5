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
    """Serves all nodes until SIGTERM, Ctrl-C or 'goldherd stop'; prints a 'ready HOST:PORT' line for each address.

    SIGHUP reads the settings again.
    """
    from goldherd import process

    process.survive_hangups()
    from goldherd.settings import ServerSettings, ServeSettings, server_settings

    def read() -> ServerSettings:
        """The settings as they are now; also what SIGHUP does."""
        settings = server_settings(
            listen=listen,
            reactors=reactors,
            cache=cache,
            connections_max=connections_max,
            full_disk_hold=full_disk_hold,
            verify_every=verify_every,
            verify_rate=verify_rate,
        )
        logs.choose_level(settings.log_level)
        return settings

    settings, found = read(), context_of(context)
    logs.speak(logging.WARNING)
    from goldherd import app

    def speak() -> None:
        logs.speak(logging.getLevelNamesMapping()[settings.log_level.upper()])

    serving = ServeSettings(found.data, settings)
    raise typer.Exit(app.serve(serving, when_ready=speak, read_settings=read, take_over=take_over))
