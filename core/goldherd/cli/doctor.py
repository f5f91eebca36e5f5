"""`goldherd doctor`: mends what an accident has done to a data folder."""

from typing import Annotated

import typer

from goldherd.cli.context import context_of
from goldherd.cli.options import DryRun, Json, Yes
from goldherd.cli.output import confirm, count_text, progress_bar, say, show_json


def doctor(
    context: typer.Context,
    rebuild_catalog: Annotated[
        bool,
        typer.Option(
            "--rebuild-catalog", help="Make the catalog anew from the images and disks that lie in the data folder."
        ),
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Makes a lost catalog anew from the files that it spoke of; the old one is moved aside."""
    from goldherd.services.requests import RebuildCatalog

    if not rebuild_catalog:
        raise typer.BadParameter("say what to mend: --rebuild-catalog.")
    found = context_of(context)
    if not found.data.exists():
        found.check()
    if not dry_run:
        confirm("Make the catalog anew? Rules, MAC addresses and policies that only it knew are lost.", yes)
    with progress_bar() as progress:
        done = found.ask("doctor.rebuild_catalog", RebuildCatalog(dry_run), progress, new=True)
    if as_json:
        show_json(
            {
                "versions": list(done.versions),
                "nodes": list(done.nodes),
                "unknown": list(done.unknown),
                "moved_aside": done.moved_aside,
                "dry_run": dry_run,
            }
        )
        return
    for sentence in done.unknown:
        say(sentence)
    would = "would be" if dry_run else "are"
    counted = f"{count_text(len(done.versions), 'version')} and {count_text(len(done.nodes), 'node')}"
    say(f"{counted} {would} in the catalog.")
    if done.moved_aside:
        say(f"The old catalog lies at {done.moved_aside}.")
