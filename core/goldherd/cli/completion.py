"""What the shell offers when Tab is pressed: names of what there is. Never an error, never a new file.

The script for bash is our own: Typer's splits `lab@1` and `mac:` where bash does, and finds nothing for them.
"""

from typing import TYPE_CHECKING, Final

import typer

from goldherd.cli.context import context_of
from goldherd.errors import GoldherdError

if TYPE_CHECKING:
    from goldherd.services.requests import NameKind


def complete_node(context: typer.Context, incomplete: str) -> list[str]:
    """Nodes whose name begins so."""
    return names_of(context, incomplete, "node")


def complete_image(context: typer.Context, incomplete: str) -> list[str]:
    """Images, and versions as NAME@NUMBER, that begin so."""
    return sorted(names_of(context, incomplete, "image") + names_of(context, incomplete, "version"))


def complete_plugin(context: typer.Context, incomplete: str) -> list[str]:
    """Plugins whose name begins so."""
    return names_of(context, incomplete, "plugin")


def complete_format(context: typer.Context, incomplete: str) -> list[str]:
    """Image formats whose name begins so."""
    return names_of(context, incomplete, "format")


def complete_filter(context: typer.Context, incomplete: str) -> list[str]:
    """Filters whose name begins so; their options are not known here."""
    return names_of(context, incomplete, "filter")


def complete_policy(incomplete: str) -> list[str]:
    """The policies that begin so."""
    from goldherd.model.nodes import POLICIES

    return [policy for policy in POLICIES if policy.startswith(incomplete.lower())]


def complete_rule(incomplete: str) -> list[str]:
    """The kinds of access rules that begin so."""
    from goldherd.model.access import OWN, Kind
    from goldherd.model.nodes import ANY_INITIATOR

    kinds = [*(f"{kind}:" for kind in Kind), f"{Kind.MAC}:{OWN}", ANY_INITIATOR]
    return sorted(kind for kind in kinds if kind.startswith(incomplete.lower()))


def names_of(context: typer.Context, incomplete: str, kind: "NameKind") -> list[str]:
    """The names of one kind that begin so; none when they can't be had."""
    from goldherd.services.requests import FindNames

    try:
        with context_of(context).glance() as client:
            return list(client.ask(FindNames(kind, incomplete)))
    except GoldherdError:
        return []  # the command itself will say what is wrong


BASH: Final = r"""
# Readline completes only what stands behind the last of its word breaks ($2), which are @, : and = among others. The
# word as the user sees it is asked for, and what readline keeps is cut off the answers.
%(complete_func)s() {
    local IFS=$'\n' line="${COMP_LINE:0:COMP_POINT}" word kept
    local -a before
    word="${line##*[[:space:]]}"
    kept="${word%%"$2"}"
    IFS=$' \t' read -r -a before <<< "${line%%"$word"}"
    COMPREPLY=( $( env COMP_WORDS="$line" COMP_CWORD="${#before[@]}" %(autocomplete_var)s=complete_bash "$1" ) )
    COMPREPLY=( "${COMPREPLY[@]#"$kept"}" )
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[:@] ]]; then compopt -o nospace; fi
    return 0
}

complete -o default -F %(complete_func)s %(prog_name)s
"""


def install_script() -> None:
    """Puts our script in the place of Typer's, for --show-completion and --install-completion."""
    from typer import _completion_shared

    _completion_shared._completion_scripts["bash"] = BASH
