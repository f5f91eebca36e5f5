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
    mark_volumes: Annotated[
        bool,
        typer.Option(
            "--mark-volumes", help="Mark the folders of images and disks, as they are now, as those of this catalog."
        ),
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Mends what an accident has done: a lost catalog is made anew, folders that were restored are marked."""
    from goldherd.services.requests import MarkVolumes, RebuildCatalog

    if rebuild_catalog == mark_volumes:
        raise typer.BadParameter("say what to mend: --rebuild-catalog or --mark-volumes.")
    found = context_of(context)
    if mark_volumes:
        with found.client() as client:
            folders = list(client.ask(MarkVolumes()).folders)
        show_json({"folders": folders}) if as_json else say(f"Marked {' and '.join(folders)}.")
        return
    found.check_folder()
    if not dry_run:
        confirm("Make the catalog anew? Rules, MAC addresses and policies that only it knew are lost.", yes)
    with found.client(new=True) as client, progress_bar() as progress:
        done = client.ask(RebuildCatalog(dry_run), progress)
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
