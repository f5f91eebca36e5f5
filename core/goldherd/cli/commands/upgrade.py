"""`goldherd upgrade`: the running daemon hands over to a new process, and no machine notices more than a pause."""

import typer

from goldherd.cli.context import context_of
from goldherd.cli.options import Json
from goldherd.cli.output import count_text, say, show_json


def upgrade(context: typer.Context, as_json: Json = False) -> None:
    """Lets the running daemon hand over to a new process of the goldherd that is installed now: sessions go on."""
    from goldherd.services.requests import UpgradeDaemon

    with context_of(context).glance() as client:
        done = client.ask(UpgradeDaemon())
    if as_json:
        show_json(
            {
                "pid": done.pid,
                "version": done.version,
                "sessions": done.sessions,
                "pause_seconds": round(done.pause_seconds, 3),
            }
        )
        return
    say(
        f"goldherd {done.version} (process {done.pid}) has taken over with {count_text(done.sessions, 'session')}, "
        f"which stood still for {done.pause_seconds:.2f} s."
    )
