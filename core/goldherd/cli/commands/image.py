"""`goldherd image`: importing golden disks, choosing the active version, checking, retiring, removing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goldherd.cli.completion import complete_filter, complete_format, complete_image
from goldherd.cli.context import context_of
from goldherd.cli.options import DryRun, Json, Version, Yes
from goldherd.cli.output import (
    age_text,
    complain,
    confirm,
    count_text,
    error_json,
    progress_bar,
    say,
    show_fields,
    show_json,
    show_table,
    size_text,
)
from goldherd.errors import GoldherdError

if TYPE_CHECKING:
    from goldherd.model.images import VersionRecord
    from goldherd.services.answers import Changed, Verified


_OUTCOMES = {
    "right": "every byte was as it was sealed",
    "changed": "its bytes were not those that were sealed",
    "unreadable": "it could not be read whole",
}
_MOSTLY_HOLES = "not worked out: the file is mostly holes"

app = typer.Typer(help="Golden images and their versions.", no_args_is_help=True)


def version_json(version: "VersionRecord") -> dict[str, Any]:
    """A version as programs see it (docs/cli.md)."""
    return {
        "name": version.name,
        "image": version.image,
        "version": version.number,
        "state": version.state,
        "path": str(version.path),
        "format": version.format,
        "size_bytes": version.size_bytes,
        "file_bytes": version.seal.file_bytes,
        "sha256": version.sha256,
        "source_sha256": version.source_sha256,
        "in_place": version.in_place,
        "parent": version.parent,
        "created_at": version.created_at,
        "filters": list(version.filters),
        "hash": version.hash,
        "hash_algorithm": version.hash_algorithm,
        "source_hash": version.source_hash,
        "changed": version.changed,
        "changed_at": version.changed_at,
        "verified_at": version.verified_at,
        "outcome": version.outcome,
        "verity": version.seal.verity,
    }


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A disk image: VHD or raw.")],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="The image's name.", autocompletion=complete_image)
    ],
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Seal the file where it is instead of copying it.")
    ] = False,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="NAME", help="The file's format; default: probed.", autocompletion=complete_format
        ),
    ] = None,
    parent: Annotated[
        str | None,
        typer.Option(
            "--parent",
            metavar="NAME@V",
            help="The version that a differencing disk is based on; default: found by its names and its unique id.",
            autocompletion=complete_image,
        ),
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="NAME[:OPTION=VALUE,...]",
            autocompletion=complete_filter,
            help="A filter over the disks of nodes on this version, e.g. delay:ms=20; may be repeated, the first lies "
            "nearest to the disk.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Checks a disk image and seals it as the next version; the first one becomes active."""
    from goldherd.services.requests import ImportImage

    request = ImportImage(str(file.expanduser()), name, in_place, format_name, parent, tuple(filters or ()))
    with context_of(context).client(new=True) as client, progress_bar() as progress:
        version = client.ask(request, progress)
    if as_json:
        show_json(version_json(version))
        return
    hint = "" if version.state == "active" else f"; 'goldherd image activate {version.name}' gives it to the nodes"
    say(f"{version.name}: {size_text(version.size_bytes)}, {version.state}{hint}.")


@app.command("list")
def list_(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Only the versions of this image.", autocompletion=complete_image),
    ] = None,
    as_json: Json = False,
) -> None:
    """Lists all versions of all images, or of one."""
    from goldherd.services.requests import ListImages

    with context_of(context).client() as client:
        versions = client.ask(ListImages(name))
    if as_json:
        show_json([version_json(version) for version in versions])
        return
    show_table(
        ("VERSION", "STATE", "SIZE", "ON DISK", "HASH", "CREATED"),
        [
            (
                version.name,
                version.state if version.changed is None else f"{version.state}, changed",
                size_text(version.size_bytes),
                size_text(version.seal.file_bytes),
                version.hash[:12],
                version.created_at,
            )
            for version in versions
        ],
        dispensable=("HASH", "ON DISK", "CREATED"),
    )


@app.command()
def show(context: typer.Context, name: Version, as_json: Json = False) -> None:
    """Shows one version (the active one if there is no number) and the nodes that get it."""
    from goldherd.services.requests import ShowImage

    with context_of(context).client() as client:
        details = client.ask(ShowImage(name))
    version = details.version
    if as_json:
        show_json({**version_json(version), "nodes": list(details.nodes), "fault": details.fault})
        return
    show_fields(
        [
            ("Version", version.name),
            ("State", version.state),
            ("Size", f"{size_text(version.size_bytes)} ({version.size_bytes} bytes)"),
            ("Format", version.format),
            ("File", str(version.path) + (" (in place)" if version.in_place else "")),
            ("Hash", f"{version.hash} ({version.hash_algorithm})"),
            ("SHA-256", version.sha256 or _MOSTLY_HOLES),
            ("SHA-256 of the source", version.source_sha256 or _MOSTLY_HOLES),
            ("Parent", version.parent or "none"),
            ("Filters of its nodes", " ".join(version.filters) or "none"),
            ("Created", version.created_at),
            ("Verified", _verified_text(version)),
            ("fs-verity", version.seal.verity or "not used"),
            ("Nodes", str(len(details.nodes))),
            *([] if details.fault is None else [("Fault", details.fault)]),
        ]
    )


def _verified_text(version: "VersionRecord") -> str:
    """When every byte was last compared, and what that showed."""
    if version.verified_at is None or version.outcome is None:
        return "not since it was sealed"
    return f"{age_text(version.verified_at)} ({version.verified_at}): {_OUTCOMES[version.outcome]}"


@app.command()
def find(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A disk image.")],
    as_json: Json = False,
) -> None:
    """Tells which sealed version a file is, by whatever name it is reached, and that it is unchanged."""
    from goldherd.services.requests import FindImage

    with context_of(context).client() as client:
        found = client.ask(FindImage(str(file.expanduser())))
    if as_json:
        version = None if found.version is None else version_json(found.version)
        show_json({"version": version, "write_protected": found.write_protected})
    elif found.version is None:
        say(f"{file} is no sealed version.")
    else:
        say(f"{file} is {found.version.name}, unchanged since it was sealed.")


@app.command()
def verify(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME[@VERSION]]", help="An image or version.", autocompletion=complete_image),
    ] = None,
    all_versions: Annotated[
        bool, typer.Option("--all", help="All versions of all images, one after the other.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Reads a version's whole file and compares it with the hash it was sealed with; --all does so with each."""
    from goldherd.services.requests import ListImages, VerifyImage

    if (name is None) != all_versions:
        raise typer.BadParameter("name one version, such as lab@1, or give --all alone.")
    with context_of(context).client() as client:
        if name is not None:
            with progress_bar() as progress:
                done = client.ask(VerifyImage(name), progress)
            if as_json:
                show_json(_verified_json(done))
            else:
                say(_right_text(done))
            return
        documents, failures = [], 0
        for version in client.ask(ListImages()):
            try:
                with progress_bar(version.name) as progress:
                    done = client.ask(VerifyImage(version.name), progress)
            except GoldherdError as error:
                failures += 1
                complain(str(error))
                documents.append({"name": version.name, "error": error_json(error.kind, error.about, str(error), None)})
            else:
                documents.append(_verified_json(done))
                if not as_json:
                    say(_right_text(done))
    if as_json:
        show_json(documents)
    if failures:
        raise typer.Exit(1)


def _verified_json(done: "Verified") -> dict[str, Any]:
    return {
        "name": done.name,
        "sha256": done.sha256,
        "seal_renewed": done.seal_renewed,
        "hash": done.hash,
        "hash_algorithm": done.hash_algorithm,
        "cleared": done.cleared,
    }


def _right_text(done: "Verified") -> str:
    noted = "; its new file time was noted" if done.seal_renewed else ""
    return f"{done.name}: every byte is as it was sealed{noted}{', and nodes get it again' if done.cleared else ''}."


@app.command()
def activate(context: typer.Context, name: Version, as_json: Json = False) -> None:
    """Makes a version what the next login of every node that follows the image gets."""
    from goldherd.services.requests import ActivateImage

    with context_of(context).client() as client:
        _tell(client.ask(ActivateImage(name)), "active", as_json)


@app.command()
def retire(context: typer.Context, name: Version, as_json: Json = False) -> None:
    """Takes a version out of use; its file is kept."""
    from goldherd.services.requests import RetireImage

    with context_of(context).client() as client:
        _tell(client.ask(RetireImage(name)), "retired", as_json)


def _tell(done: "Changed", state: str, as_json: bool) -> None:
    """Whether a version got another state."""
    if as_json:
        show_json({"name": done.name, "changed": done.changed})
    elif done.changed:
        say(f"{done.name} is {state} now.")
    else:
        say(f"{done.name} is {state} already: nothing changed.")


@app.command()
def remove(
    context: typer.Context,
    name: Version,
    all_versions: Annotated[
        bool, typer.Option("--all-versions", help="Remove the image with all of its versions.")
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Removes a version, or a whole image with --all-versions, and the disks that nodes kept on it."""
    from goldherd.services.requests import RemoveImage

    if ("@" in name) == all_versions:
        image = name.partition("@")[0]
        raise typer.BadParameter(f"name one version, such as {image}@1, or give --all-versions with {image} alone.")
    with context_of(context).client() as client:
        done = client.ask(RemoveImage(name, all_versions, dry_run=True))
        names, disks = ", ".join(done.names), count_text(done.disks, "node disk")
        if not dry_run:
            confirm(f"Remove {names} with {disks}?", yes)
            done = client.ask(RemoveImage(name, all_versions))
            names, disks = ", ".join(done.names), count_text(done.disks, "node disk")
    if as_json:
        show_json(
            {
                "removed": list(done.names),
                "node_disks": done.disks,
                "files": list(done.files),
                "kept": list(done.kept),
                "dry_run": dry_run,
            }
        )
        return
    left = f" Kept where they were adopted, still read-only: {', '.join(done.kept)}." if done.kept else ""
    if dry_run:
        for file in done.files:
            say(f"would go: {file}")
        say(f"{names} would be removed, with {disks}. Nothing was removed.{left}")
    else:
        say(f"{names} removed, with {disks}.{left}")
