"""`goldherd node`: the machines, one by one or by the thousand."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goldherd.cli.completion import complete_image, complete_node, complete_policy, complete_rule
from goldherd.cli.context import context_of
from goldherd.cli.options import ChapSecretOption, ChapUserOption, DryRun, Json, Nodes, Yes
from goldherd.cli.output import confirm, count_text, progress_bar, say, show_fields, show_json, show_table, size_text
from goldherd.cli.secret_files import read_chap

if TYPE_CHECKING:
    from goldherd.model.nodes import NodeRecord
    from goldherd.services.answers import CheckedDisk


app = typer.Typer(help="Diskless machines.", no_args_is_help=True)

MacOption = Annotated[
    list[str] | None, typer.Option("--mac", metavar="MAC", help="MAC address; may be repeated, for one node.")
]
InitiatorOption = Annotated[
    str | None,
    typer.Option(metavar="IQN", help="The only initiator that may log in, or 'any'. Default: PREFIX.node:NODE."),
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="RULE",
        help="Who may log in; may be repeated, one that fits admits: initiator:IQN, net:10.1.0.0/16, mac:node (the "
        "node's own cards), mac:ADDRESS, dns:HOST or any.",
        autocompletion=complete_rule,
    ),
]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        metavar="keep|reset",
        help="Keep the disk (default), or a fresh one at each boot by iPXE.",
        autocompletion=complete_policy,
    ),
]
ImageOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[@VERSION]",
        help="Follow an image's active version, or stay on one.",
        autocompletion=complete_image,
    ),
]


def node_json(node: "NodeRecord") -> dict[str, Any]:
    """A node as programs see it (docs/cli.md)."""
    return {
        "name": node.name,
        "target": node.target,
        "image": node.image,
        "version": node.version,
        "pinned": node.pinned,
        "policy": node.policy,
        "initiators": list(node.initiators),
        "rules": list(node.rules),
        "macs": list(node.macs),
        "chap_user": node.chap_user,
        "overlay": None if node.overlay is None else str(node.overlay),
        "created_at": node.created_at,
        "seen_at": node.seen_at,
        "seen_address": node.seen_address,
        "quota_soft": node.quota.soft_bytes or None,
        "quota_hard": node.quota.hard_bytes or None,
        "used_bytes": node.used_bytes,
        "failed": node.failed,
    }


@app.command()
def add(
    context: typer.Context,
    names: Nodes,
    image: Annotated[
        str,
        typer.Option(
            metavar="NAME[@VERSION]",
            help="Follow an image's active version, or stay on one.",
            autocompletion=complete_image,
        ),
    ],
    mac: MacOption = None,
    initiator: InitiatorOption = None,
    allow: AllowOption = None,
    policy: PolicyOption = None,
    chap_user: ChapUserOption = None,
    chap_secret_file: ChapSecretOption = None,
    as_json: Json = False,
) -> None:
    """Makes nodes, each with a disk, a target and an access rule; a second run changes nothing."""
    from goldherd.services.requests import AddNodes

    request = AddNodes(
        tuple(names),
        image,
        policy=policy,
        rules=_rules(initiator, allow),
        macs=None if mac is None else tuple(mac),
        chap_user=chap_user,
        chap_secret=read_chap(chap_user, chap_secret_file),
    )
    with context_of(context).client() as client:
        done = client.ask(request)
    if as_json:
        show_json({"created": list(done.created), "unchanged": list(done.unchanged)})
    elif not done.created:
        say(f"Nothing changed: {count_text(len(done.unchanged), 'node')} as wished already.")
    else:
        same = f"; {len(done.unchanged)} existed already" if done.unchanged else ""
        say(f"{count_text(len(done.created), 'node')} added{same}.")


@app.command("set")
def set_(
    context: typer.Context,
    names: Nodes,
    image: ImageOption = None,
    mac: MacOption = None,
    initiator: InitiatorOption = None,
    allow: AllowOption = None,
    policy: PolicyOption = None,
    chap_user: ChapUserOption = None,
    chap_secret_file: ChapSecretOption = None,
    no_chap: Annotated[bool, typer.Option("--no-chap", help="Ask for no CHAP any more.")] = False,
    no_mac: Annotated[bool, typer.Option("--no-mac", help="Forget the MAC addresses.")] = False,
    quota_soft: Annotated[
        str | None, typer.Option(metavar="SIZE|none", help="Warn when the disk takes more space: 20G.")
    ] = None,
    quota_hard: Annotated[
        str | None, typer.Option(metavar="SIZE|none", help="Hold writes that would make the disk take more space.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Changes nodes: only what is named. Another image means another disk; the old one is kept."""
    from goldherd.services.requests import SetNodes

    if no_mac and mac:
        raise typer.BadParameter("--no-mac and --mac exclude each other.")
    if no_chap and chap_user is not None:
        raise typer.BadParameter("--no-chap and --chap-user exclude each other.")
    request = SetNodes(
        tuple(names),
        image=image,
        policy=policy,
        rules=_rules(initiator, allow),
        macs=() if no_mac else None if mac is None else tuple(mac),
        chap_user=chap_user,
        chap_secret=read_chap(chap_user, chap_secret_file),
        without_chap=no_chap,
        quota_soft=quota_soft,
        quota_hard=quota_hard,
    )
    if request == SetNodes(request.nodes):
        raise typer.BadParameter("nothing to change: name at least one option.")
    with context_of(context).client() as client:
        done = client.ask(request)
    if as_json:
        show_json({"changed": list(done.changed), "unchanged": list(done.unchanged)})
    elif not done.changed:
        say(f"Nothing changed: {count_text(len(done.unchanged), 'node')} as wished already.")
    else:
        say(f"{count_text(len(done.changed), 'node')} changed.")


@app.command("list")
def list_(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NODES...]", help="Only these.", autocompletion=complete_node),
    ] = None,
    as_json: Json = False,
) -> None:
    """Lists nodes."""
    from goldherd.services.requests import ListNodes

    with context_of(context).client() as client:
        found = client.ask(ListNodes(tuple(names or ())))
    if as_json:
        show_json([node_json(node) for node in found])
        return
    show_table(
        ("NODE", "IMAGE", "POLICY", "ADMITS", "MAC", "LAST SEEN", "FROM"),
        [
            (
                node.name,
                _image_text(node),
                node.policy,
                _rules_text(node),
                " ".join(node.macs) or "-",
                node.seen_at or "never",
                node.seen_address or "-",
            )
            for node in found
        ],
        dispensable=("ADMITS", "FROM", "POLICY", "LAST SEEN", "MAC"),
    )
    for node in found:
        if node.failed is not None:
            say(failed_text(node.name, node.failed))


@app.command()
def show(context: typer.Context, name: Nodes, as_json: Json = False) -> None:
    """Shows nodes with everything that is known of them, but never a secret."""
    from goldherd.services.requests import ShowNodes

    with context_of(context).client() as client:
        found = client.ask(ShowNodes(tuple(name)))
    if as_json:
        shapes = [node_json(node) for node in found]
        show_json(shapes[0] if len(shapes) == 1 else shapes)
        return
    for number, node in enumerate(found):
        if number:
            say("")
        show_fields(
            [
                ("Node", node.name),
                ("Target", node.target),
                ("Image", _image_text(node)),
                ("Policy", node.policy),
                ("Admits", _rules_text(node)),
                ("MAC", " ".join(node.macs) or "none"),
                ("CHAP user", node.chap_user or "none"),
                ("Disk", "none" if node.overlay is None else str(node.overlay)),
                ("Space", _space_text(node)),
                *([("Failed", node.failed)] if node.failed is not None else []),
                ("Created", node.created_at),
                ("Last seen", f"{node.seen_at} from {node.seen_address}" if node.seen_at else "never"),
            ]
        )


@app.command()
def check(
    context: typer.Context,
    names: Nodes,
    clear: Annotated[
        bool, typer.Option("--clear", help="Let a failed disk take writes again if nothing is wrong with it now.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Reads the whole disks of nodes that are shut down, and says what is wrong; nothing inside them is changed."""
    from goldherd.services.requests import CheckNodes

    with context_of(context).client() as client, progress_bar() as progress:
        disks = client.ask(CheckNodes(tuple(names), clear), progress)
    if as_json:
        show_json(
            [
                {
                    "node": disk.node,
                    "path": disk.path,
                    "failed": disk.failure,
                    "faults": list(disk.faults),
                    "read_bytes": disk.read_bytes,
                    "cleared": disk.cleared,
                }
                for disk in disks
            ]
        )
    else:
        for disk in disks:
            _tell_checked(disk)
    if any(disk.faults or (disk.failure is not None and not disk.cleared) for disk in disks):
        raise typer.Exit(1)


def _space_text(node: "NodeRecord") -> str:
    bounds = [
        f"{size_text(count)} {what}"
        for count, what in ((node.quota.soft_bytes, "soft"), (node.quota.hard_bytes, "hard"))
        if count
    ]
    used = "none" if node.used_bytes is None else size_text(node.used_bytes)
    return f"{used} of {' and '.join(bounds)} quota" if bounds else used


def failed_text(name: str, reason: str) -> str:
    """The sentence about a node whose disk has failed."""
    return f"The disk of {name} has failed: {reason}. It takes no writes; 'goldherd node check {name}' reads it."


def _tell_checked(disk: "CheckedDisk") -> None:
    for fault in disk.faults:
        say(fault)
    if disk.faults:
        say(f"{disk.path} is damaged. 'goldherd node reset {disk.node}' gives {disk.node} a fresh disk.")
        return
    say(f"{disk.path}: {size_text(disk.read_bytes)} read, nothing wrong.")
    if disk.cleared:
        say(
            f"{disk.node} can write to it again. What was written before it failed may be missing: check the file "
            "systems on it (fsck, chkdsk) at the next boot."
        )
    elif disk.failure is not None:
        say(
            f"It has failed: {disk.failure}. It takes no writes until 'goldherd node check {disk.node} --clear', or "
            f"'goldherd node reset {disk.node}' gives a fresh one."
        )


@app.command()
def remove(
    context: typer.Context, names: Nodes, yes: Yes = False, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Removes nodes with their disks and secrets."""
    from goldherd.services.requests import RemoveNodes

    with context_of(context).client() as client:
        done = client.ask(RemoveNodes(tuple(names), dry_run=True))
        if not dry_run:
            confirm(f"Remove {count_text(len(done.names), 'node')} with {count_text(done.disks, 'disk')}?", yes)
            done = client.ask(RemoveNodes(tuple(names)))
    _tell("removed", done.names, done.files, dry_run, as_json)


@app.command()
def reset(
    context: typer.Context, names: Nodes, yes: Yes = False, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Gives nodes a fresh disk on their present version; everything they wrote is thrown away."""
    from goldherd.services.requests import ResetNodes

    with context_of(context).client() as client:
        done = client.ask(ResetNodes(tuple(names), dry_run=True))
        if not dry_run:
            confirm(f"Throw away everything that {count_text(len(done.nodes), 'node')} wrote?", yes)
            done = client.ask(ResetNodes(tuple(names)))
    _tell("reset", done.nodes, done.files, dry_run, as_json)


def _tell(done: str, names: "Sequence[str]", files: "Sequence[str]", dry_run: bool, as_json: bool) -> None:
    """What was removed or reset, or would be."""
    if as_json:
        show_json({done: list(names), "files": list(files), "dry_run": dry_run})
    elif dry_run:
        for file in files:
            say(f"would go: {file}")
        say(f"{count_text(len(names), 'node')} would be {done}: {', '.join(names)}. Nothing was {done}.")
    else:
        say(f"{count_text(len(names), 'node')} {done}.")


def _image_text(node: "NodeRecord") -> str:
    number = "(no active version)" if node.version is None else f"@{node.version}"
    return f"{node.image}{number}{' (pinned)' if node.pinned else ''}"


def _rules_text(node: "NodeRecord") -> str:
    """The access rules; an initiator's name says by itself what it is."""
    return " ".join(rule.removeprefix("initiator:") for rule in node.rules) or "nobody"


def _rules(initiator: str | None, allow: list[str] | None) -> tuple[str, ...] | None:
    """What --initiator and --allow say together; None when neither is given."""
    named = () if initiator is None else (f"initiator:{initiator}",)
    return (*named, *(allow or ())) or None
