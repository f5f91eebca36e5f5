"""The walls of the house: which room may import which, read from the import lines of every source file.

The rooms lie on the way of the data. Left may import right, nothing else; every room may import the files
that lie directly in goldherd/ and import no room themselves.
"""

import re
from pathlib import Path

import pytest

from tests.support import imports
from tests.support.rooms import CORE, LONGEST, PLUGINS, ROOT, WIDEST, imported, sources

MAY_IMPORT = {
    "model": set[str](),
    "native": set[str](),
    "files": {"model"},
    "wire": {"native"},
    "block": {"files", "native"},
    "scsi": {"block", "native"},
    "session": {"scsi", "block", "wire", "native"},
    "reactor": {"session", "scsi", "block", "wire", "native", "model"},
    "negotiation": {"wire", "model"},
    "target": {"reactor", "session", "scsi", "block", "negotiation", "wire", "model", "files"},
    "catalog": {"model"},
    "volumes": {"files", "model"},
    "services": {"catalog", "volumes", "model"},
    "api": {"model"},
    "cli": {"app", "client", "process", "services", "model"},
}
"""Room to the rooms (or files) it may import, besides the files that every room may."""

EVERYBODYS = {
    "environment",
    "errors",
    "faults",
    "limits",
    "hookspecs",
    "hooks",
    "isolation",
    "formats",
    "settings",
    "supervisor",
}
"""Files directly in goldherd/ that every room may import; they import no room but those of the line below."""

OF_THE_WHOLE = {"app", "__init__"}
"""Files directly in goldherd/ that know every room."""

SEE_ROOMS = {
    "hookspecs": {"block", "model"},
    "hooks": {"block", "model"},
    "formats": {"block", "model"},
    "settings": {"model"},
    "client": {"services", "model"},
    "process": set[str](),
}
"""Hooks speak of images and targets, settings of addresses and targets, the client of operations, a process of none."""

PLUGINS_MAY_IMPORT = {"block", "files", "native", "wire", "model"}
"""Backends derive from images and lock files, and CHAP reads binary values in login texts."""

_COMMANDS = {"call", "sam", "sense", "state", "fields"}
"""What the commands of SCSI are written with."""

SUBROOMS = {
    "scsi": {
        "fastpath": set[str](),
        "sam": {"fastpath"},
        "sense": set[str](),
        "fields": set[str](),
        "state": {"fastpath", "sam", "sense"},
        "call": {"sam", "state"},
        "disk": _COMMANDS,
        "reservations": _COMMANDS,
        "copying": _COMMANDS | {"disk"},
        "identification": _COMMANDS | {"copying"},
        "commands": {"call", "sam", "disk", "reservations", "copying", "identification"},
        "execute": _COMMANDS | {"commands", "disk"},
        "absent": _COMMANDS | {"commands", "execute", "identification"},
        "prebuilt": _COMMANDS | {"commands", "identification"},
        "task_management": _COMMANDS,
    },
    "cli": {
        "exit_codes": set[str](),
        "hints": set[str](),
        "logs": set[str](),
        "output": {"exit_codes"},
        "context": {"logs", "output"},
        "completion": {"context"},
        "options": {"completion"},
        "secret_files": {"output"},
        "commands": {"completion", "context", "logs", "options", "output", "secret_files"},
        "command_line": {"commands", "completion", "context", "exit_codes", "hints", "logs", "output"},
        "main": {"command_line", "exit_codes"},
    },
    "target": {
        "disks": set[str](),
        "sessions": set[str](),
        "slow_steps": set[str](),
        "open_targets": {"disks", "sessions"},
        "upkeep": {"disks", "open_targets", "sessions"},
        "space": {"disks", "open_targets", "sessions"},
        "commands": {"sessions"},
        "login": {"commands", "open_targets", "sessions"},
        "lifecycle": {"disks", "login", "open_targets", "sessions", "upkeep"},
        "server": {
            *("commands", "disks", "lifecycle", "login", "open_targets", "sessions", "slow_steps", "space", "upkeep"),
        },
        "handover": {"login", "server", "sessions"},
    },
}
"""Inside a parted room: folder or file to those of the same room that it may import."""

CLI_MAY_IMPORT = {"goldherd.services.answers", "goldherd.services.requests"}
"""Of the services, the command line knows what can be asked and answered; the client alone knows who does it."""


def rooms() -> list[str]:
    """The folders that hold source."""
    return sorted(path.name for path in CORE.iterdir() if path.is_dir() and sources(path))


def test_every_room_stands_in_the_table() -> None:
    assert set(rooms()) <= MAY_IMPORT.keys()


def test_table_names_no_unknown_room() -> None:
    assert set().union(*MAY_IMPORT.values()) <= MAY_IMPORT.keys() | OF_THE_WHOLE | SEE_ROOMS.keys()


@pytest.mark.parametrize("room", rooms())
def test_room_imports_only_what_lies_to_its_right(room: str) -> None:
    allowed = MAY_IMPORT[room] | EVERYBODYS | {room}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(CORE / room)
        for name in imported(path)
        if name not in allowed
    ]
    assert not wrong


def test_files_directly_in_goldherd_import_no_room() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted(CORE.glob("*.p*"))
        if path.stem not in OF_THE_WHOLE
        for name in imported(path)
        if name not in EVERYBODYS | SEE_ROOMS.get(path.stem, set())
    ]
    assert not wrong


def test_plugins_go_through_the_door_of_strangers() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(PLUGINS)
        for name in imported(path)
        if name not in PLUGINS_MAY_IMPORT | EVERYBODYS
    ]
    assert not wrong


def test_core_never_imports_a_plugin() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in sources(CORE)
        if re.search(r"^\s*(from|c?import)\s+goldherd_plugins", path.read_text(), re.MULTILINE)
    ]
    assert not wrong


@pytest.mark.parametrize("room", SUBROOMS)
def test_parted_room_keeps_its_inner_walls(room: str) -> None:
    allowed, prefix = SUBROOMS[room], f"goldherd.{room}."
    wrong = [
        f"{module} imports {name}"
        for module, names in imports.graph().items()
        if module.startswith(prefix)
        for name in sorted(names)
        if name.startswith(prefix)
        and (own := module.split(".")[2]) != (other := name.split(".")[2])
        and other not in allowed[own]
    ]
    assert not wrong


def test_no_file_imports_another_in_a_circle() -> None:
    assert imports.circles(imports.graph()) == set()


def test_command_line_asks_for_operations_through_the_client() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, names in imports.graph().items()
        if module.startswith("goldherd.cli.")
        for name in sorted(names)
        if name.startswith("goldherd.services") and name not in CLI_MAY_IMPORT
    ]
    assert not wrong


@pytest.mark.parametrize("folder", imports.folders(), ids=lambda folder: str(folder.relative_to(ROOT)))
def test_room_is_of_a_size_to_be_read(folder: Path) -> None:
    """Folders inside a room are rooms of their own."""
    modules, lines = imports.size(folder)
    assert modules <= WIDEST, f"{modules} modules"
    assert lines <= LONGEST, f"{lines} lines"


def test_circles_are_found() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set[str](), "e": {"a"}}
    assert imports.circles(edges) == {frozenset({"b", "c"})}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from goldherd.a.b import C", ["goldherd.a.b"]),
        ("from goldherd.a import b as c, d", ["goldherd.a.b", "goldherd.a"]),
        ("if TYPE_CHECKING:\n    from goldherd.a.b import C", ["goldherd.a.b"]),
        ("from goldherd.a.b cimport (\n    C,\n    D)", ["goldherd.a.b", "goldherd.a.b"]),
        ("cimport goldherd.a.b as b", ["goldherd.a.b"]),
        ("from collections import abc", []),
    ],
)
def test_imports_of_modules_are_read(text: str, found: list[str]) -> None:
    assert list(imports.imported_modules(text, {"goldherd.a": None, "goldherd.a.b": None})) == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from goldherd.wire.pdu cimport get32", ["wire"]),
        ("from goldherd import errors, wire", ["errors", "wire"]),
        ("from goldherd import (\n    limits,\n    scsi,\n)", ["limits", "scsi"]),
        ("    import goldherd.block.image", ["block"]),
        ("cimport goldherd.session.core as core", ["session"]),
        ("import goldherd.errors, goldherd.target.portal", ["errors", "target"]),
        ("from goldherd import Image, hookimpl", []),
        ("from goldherd_plugins.vhd import layout", []),
    ],
)
def test_every_form_of_import_is_read(line: str, found: list[str], tmp_path: Path) -> None:
    source = tmp_path / "source.pyx"
    source.write_text(line + "\n")
    assert list(imported(source)) == found
