"""What the shell offers when Tab is pressed: names of nodes and images. Never an error, never a new file.

The script for bash is our own: Typer's splits `lab@1` and `mac:` where bash does, and finds nothing for them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import typer

from goldherd.cli.context import context_of
from goldherd.errors import GoldherdError


def complete_node(context: typer.Context, incomplete: str) -> list[str]:
    """Nodes whose name begins so."""
    from goldherd.services.glance import node_names

    return _beginning(incomplete, context, node_names)


def complete_image(context: typer.Context, incomplete: str) -> list[str]:
    """Images, and versions as NAME@NUMBER, that begin so."""
    from goldherd.services.glance import image_names

    return _beginning(incomplete, context, image_names)


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


def _beginning(incomplete: str, context: typer.Context, names: Callable[[Path], list[str]]) -> list[str]:
    try:
        return sorted(name for name in names(context_of(context).data) if name.startswith(incomplete.lower()))
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
