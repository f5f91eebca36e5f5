"""The walls of the house: which room may import which, read from the import lines of every source file.

The rooms lie on the way of the data. Left may import right, nothing else; every room may import the files
that lie directly in goldherd/ and import no room themselves.
"""

import re
from pathlib import Path

import pytest

from tests.support.rooms import CORE, PLUGINS, ROOT, imported, sources

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
    "target": {"reactor", "session", "scsi", "block", "negotiation", "wire", "model"},
    "catalog": {"model"},
    "volumes": {"files", "model"},
    "services": {"catalog", "volumes", "model"},
    "api": {"model"},
    "cli": {"app", "client", "services", "model"},
}
"""Room to the rooms (or files) it may import, besides the files that every room may."""

EVERYBODYS = {"environment", "errors", "limits", "hookspecs", "hooks", "settings"}
"""Files directly in goldherd/ that every room may import; they import no room but those of the line below."""

OF_THE_WHOLE = {"app", "__init__"}
"""Files directly in goldherd/ that know every room."""

SEE_ROOMS = {"hookspecs": {"block", "model"}, "hooks": {"block", "model"}, "settings": {"model"}, "client": set[str]()}
"""Hooks speak of images and targets, and settings of addresses and targets."""

PLUGINS_MAY_IMPORT = {"block", "files", "native", "wire", "model"}
"""Backends derive from images and lock files, and CHAP reads binary values in login texts."""


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
