"""The completion script for bash: Typer's own splits `lab@1` and `mac:` where bash does, and finds nothing for them."""

from typing import Final

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


def install() -> None:
    """Puts our script in the place of Typer's, for --show-completion and --install-completion."""
    from typer import _completion_shared

    _completion_shared._completion_scripts["bash"] = BASH
