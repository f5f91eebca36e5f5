"""docs/cli.md names every command and option there is; every command has help and JSON."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from goldherd.cli.command_line import command_line
from goldherd.cli.hints import HINTS
from goldherd.errors import ErrorKind
from goldherd.services.operations import TABLE

DOCUMENT: Final = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
FOR_LONG: Final = {"serve", "export"}
"""Commands that run until they are stopped: they print lines, no document."""


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that is no group, with its words."""
    inner = getattr(command, "commands", None)
    if not inner:
        yield path, command
    for name, child in (inner or {}).items():
        yield from leaves(child, (*path, name))


COMMANDS: Final = dict(leaves(command_line()))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_command_is_documented_with_its_options(path: tuple[str, ...]) -> None:
    row = re.compile(rf"^\| `{path[0]} .*`{path[-1]}`|^\| `{' '.join(path)}[ `]", re.MULTILINE)
    assert row.search(DOCUMENT), path
    options = {name for parameter in COMMANDS[path].params for name in parameter.opts if name.startswith("--")}
    assert not {name for name in options if not re.search(rf"{name}\b", DOCUMENT)}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_command_has_help_and_json(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help and all(parameter.help for parameter in command.params)
    names = {name for parameter in command.params for name in parameter.opts}
    assert ("--json" in names) == (path[0] not in FOR_LONG)


def test_man_page_has_every_command_and_option() -> None:
    script = Path(__file__).parents[2] / "scripts" / "manpage"
    page = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout
    for path, command in COMMANDS.items():
        assert f".SS goldherd {' '.join(path)}\n" in page
        for parameter in command.params:
            assert all(name.replace("-", "\\-") in page for name in parameter.opts if name.startswith("--"))


def test_every_operation_has_a_command() -> None:
    """The names are asked for by Tab."""
    commands = {".".join(path) for path in COMMANDS}
    alone = {path[0]: command for path, command in COMMANDS.items() if len(path) == 1}
    options = {f"{name}.{parameter.name}" for name, command in alone.items() for parameter in command.params}
    assert {operation.name for operation in TABLE} - {"names"} <= commands | options


@pytest.mark.parametrize(
    "operation", [operation for operation in TABLE if operation.removes_data], ids=lambda line: line.name
)
def test_operation_that_removes_data_asks_and_has_a_dry_run(operation: Any) -> None:
    words = tuple(operation.name.split("."))
    command = COMMANDS.get(words) or COMMANDS[words[:1]]
    names = {name for parameter in command.params for name in parameter.opts}
    assert {"--yes", "--dry-run", "--json"} <= names


def test_hints_are_sentences_for_kinds_that_exist() -> None:
    assert all(kind in ErrorKind and hint.endswith(".") for (kind, _), hint in HINTS.items())
