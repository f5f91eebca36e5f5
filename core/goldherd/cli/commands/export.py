"""`goldherd export`: disk files as one iSCSI target, until Ctrl-C."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from goldherd.cli import logs
from goldherd.cli.completion import complete_filter, complete_rule, names_of
from goldherd.cli.context import context_of, load_hooks
from goldherd.cli.options import (
    CacheOption,
    ChapSecretOption,
    ChapUserOption,
    ConnectionsOption,
    FullDiskHoldOption,
    ListenOption,
    ReactorsOption,
)
from goldherd.cli.output import complain
from goldherd.cli.secret_files import read_chap
from goldherd.errors import ImageError, SettingsError

if TYPE_CHECKING:
    from goldherd.client import Client
    from goldherd.model.access import Rule
    from goldherd.model.targets import ChapCredentials, LunConfig
    from goldherd.settings import ExportSettings, ServerSettings


LISTEN_DEFAULT: Final = "127.0.0.1:3260"


def complete_disk(context: typer.Context, incomplete: str) -> list[str]:
    """FILE,option...: options behind a comma, formats behind format=. Names of files are the shell's own business."""
    from goldherd.cli.commands.luns import OPTIONS

    before, comma, last = incomplete.rpartition(",")
    if not comma:
        return []
    name, equals, value = last.partition("=")
    if equals and name == "format":
        return [f"{before},format={each}" for each in names_of(context, value, "format")]
    return [f"{before},{option}" for option in OPTIONS if option.startswith(last)]


def export(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE[,OPTION...]...",
            help="Disk images; each is the next LUN, from 0. Options: read-only, removable, thick, "
            "block-size=4096, physical-block-size=4096, format=NAME, and those of the format. A disk that is no file "
            "is FORMAT:LOCATION.",
            autocompletion=complete_disk,
        ),
    ],
    listen: ListenOption = None,
    target: Annotated[
        str | None, typer.Option(metavar="IQN", help="The target's name. Default: PREFIX:export.")
    ] = None,
    chap_user: ChapUserOption = None,
    chap_secret_file: ChapSecretOption = None,
    mutual_user: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name we prove to the initiator (mutual CHAP).")
    ] = None,
    mutual_secret_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the secret we prove it by.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help="Who may log in; may be repeated, one that fits admits: initiator:IQN, net:10.1.0.0/16, "
            "mac:ADDRESS or dns:HOST. Default: anybody.",
            autocompletion=complete_rule,
        ),
    ] = None,
    overlay: Annotated[
        Path | None,
        typer.Option(metavar="CHILD", help="Serve FILE as a read-only parent; writes go to this differencing disk."),
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="NAME[:OPTION=VALUE,...]",
            help="A filter over the disks, e.g. delay:ms=20; may be repeated, the first lies nearest to the disk.",
            autocompletion=complete_filter,
        ),
    ] = None,
    reactors: ReactorsOption = None,
    cache: CacheOption = None,
    connections_max: ConnectionsOption = None,
    full_disk_hold: FullDiskHoldOption = None,
) -> None:
    """Serves disk images as an iSCSI target until Ctrl-C; prints 'ready URL' when it accepts logins."""
    from goldherd.cli.commands.luns import check_options, parse_lun
    from goldherd.model.options import parse_filter
    from goldherd.settings import server_settings

    logs.start()
    specs = tuple(parse_filter(text) for text in filters or ())
    luns = [parse_lun(text, number, specs) for number, text in enumerate(files)]
    for lun in luns:
        if lun.options:
            check_options(lun, load_hooks().formats)
    with context_of(context).glance() as client:
        settings = export_settings(
            client,
            luns=luns,
            overlay=overlay,
            target=target,
            credentials=_credentials(chap_user, chap_secret_file, mutual_user, mutual_secret_file),
            access=_access(allow),
            server=server_settings(
                listen=_listen(listen),
                reactors=reactors,
                cache=cache,
                connections_max=connections_max,
                full_disk_hold=full_disk_hold,
            ),
        )
    from goldherd import app

    logs.speak(logging.WARNING)
    raise typer.Exit(app.export(settings, when_ready=logs.speak))


def export_settings(
    client: "Client",
    *,
    luns: "Sequence[LunConfig]",
    overlay: Path | None,
    target: str | None,
    credentials: "ChapCredentials | None",
    server: "ServerSettings",
    access: "frozenset[Rule] | None" = None,
) -> "ExportSettings":
    """What app.export gets; no sealed image is ever in it for writing.

    Raises typer.BadParameter for wrong usage, ImageError for files that can't be served this way.
    """
    from goldherd.model.names import normalise_iscsi_name
    from goldherd.model.targets import TargetConfig
    from goldherd.settings import ExportSettings

    if overlay is None:
        luns = [_protected(lun, client) for lun in luns]
    elif len(luns) == 1:
        luns = [_over(luns[0], overlay, client)]
    else:
        raise typer.BadParameter("--overlay goes with exactly one FILE.")
    name = normalise_iscsi_name(server.target_name("export") if target is None else target)
    return ExportSettings(TargetConfig(name, tuple(luns), credentials=credentials, access=access), server)


def _listen(addresses: list[str] | None) -> list[str] | None:
    """A file is shown to this machine only, unless the user says otherwise."""
    return addresses if addresses or "GOLDHERD_LISTEN" in os.environ else [LISTEN_DEFAULT]


def _access(texts: list[str] | None) -> "frozenset[Rule] | None":
    """Who may log in; None for anybody."""
    from goldherd.model.access import OWN, Kind, Rule
    from goldherd.model.names import parse_rule
    from goldherd.model.nodes import ANYBODY

    rules = [parse_rule(text) for text in texts or ()]
    if f"{Kind.MAC}:{OWN}" in rules:
        raise SettingsError("--allow mac:node goes with nodes, whose network cards are known: write mac:ADDRESS.")
    return None if not rules or ANYBODY in rules else frozenset(map(Rule.parse, rules))


def _credentials(
    user: str | None, secret_file: Path | None, mutual_user: str | None, mutual_secret_file: Path | None
) -> "ChapCredentials | None":
    from goldherd.model.targets import ChapCredentials

    secret = read_chap(user, secret_file)
    mutual_secret = read_chap(mutual_user, mutual_secret_file, "--mutual")
    if user is None or secret is None:
        if mutual_user is not None:
            raise typer.BadParameter("--mutual-user goes with --chap-user: the initiator has to prove itself first.")
        return None
    if secret == mutual_secret:
        raise SettingsError(
            "The two CHAP secrets are equal, which would let anybody reflect our answer: choose another "
            "one (RFC 7143 12.1.3)."
        )
    return ChapCredentials(user, secret, mutual_user, mutual_secret)


def _protected(lun: "LunConfig", client: "Client") -> "LunConfig":
    """A sealed image is never opened for writing, by whatever route; nor is a file nobody may write."""
    from goldherd.cli.commands.luns import is_there
    from goldherd.services.requests import FindImage

    if not is_there(lun.path):
        return lun
    found = client.ask(FindImage(str(lun.path)))
    if found.version is not None:
        if not lun.read_only:
            complain(f"Note: {lun.path} is sealed as {found.version.name} and is served read-only.")
        return replace(lun, read_only=True, sealed=True)
    if not lun.read_only and found.write_protected:
        complain(f"Note: {lun.path} has no write permission and is served read-only.")
        return replace(lun, read_only=True)
    return lun


def _over(lun: "LunConfig", overlay: Path, client: "Client") -> "LunConfig":
    from goldherd.cli.commands.luns import is_there
    from goldherd.services.requests import FindImage

    child = overlay.expanduser()
    if child.exists() and is_there(lun.path) and child.samefile(lun.path):
        raise ImageError(f"{child} can't be a differencing child of itself: name another file.", path=str(child))
    if not child.absolute().parent.is_dir():
        raise ImageError(f"There is no folder {child.absolute().parent} to make {child.name} in.", path=str(child))
    version = client.ask(FindImage(str(child))).version if is_there(child) else None
    if version is not None:
        reason = f"{child} is sealed as {version.name} and can't take writes: name a new file."
        raise ImageError(reason, path=str(child))
    if is_there(lun.path):
        client.ask(FindImage(str(lun.path)))  # refuses a sealed parent that was changed
    # The parent's format says which format its children have.
    return replace(lun, location=str(child), format=None, parent=lun.path, parent_format=lun.format, create=True)
