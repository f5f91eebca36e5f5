"""What docs/architecture.md promises: a drawing that is the code's, and walks whose every step exists.

A walk is a list under a heading "Walk: ...", each step a line like

    1. `session/receive.pyx: consume` finds whole PDUs ...

The first step is entered from outside; every later one must be named in the source of a step before it.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.imports import graph, size
from tests.support.rooms import CORE, PLUGINS, ROOT

DOCUMENT = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: drawn by scripts/rooms --write -->", "<!-- end of rooms -->"
_STEP = re.compile(r"^\d+\. `(?P<file>[\w/.]+): (?P<names>[\w., ]+)`", re.MULTILINE)
_WALK = re.compile(r"^#+ Walk: (?P<title>[^\n]+)\n(?P<body>.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Room:
    """A folder of goldherd/, or a part of one: `scsi/disk`."""

    name: str
    says: str
    modules: int
    lines: int
    imports: frozenset[str]

    @property
    def whole(self) -> str:
        """The folder of goldherd/ that it is or belongs to."""
        return self.name.partition("/")[0]


def rooms() -> list[Room]:
    """The rooms of goldherd by name; a parted room is followed by its parts."""
    folders = {path.parent.relative_to(CORE).as_posix(): path.parent for path in CORE.rglob("__init__.py")}
    del folders["."]
    edges = graph()

    def room_of(module: str) -> str:
        parts = module.split(".")[1:]
        return next((name for end in range(len(parts), 0, -1) if (name := "/".join(parts[:end])) in folders), "")

    found = []
    for name, folder in sorted(folders.items()):
        mine = [module for module in edges if room_of(module) == name and module.startswith("goldherd.")]
        others = {room_of(other) for module in mine for other in edges[module] if other.startswith("goldherd.")}
        modules, lines = size(folder)
        found.append(
            Room(name, _first_sentence(folder / "__init__.py"), modules, lines, frozenset(others - {name, ""}))
        )
    return found


def _first_sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text()))
    return re.split(r"(?<=\.)\s", " ".join((text or "").split()))[0]


def table(found: list[Room]) -> str:
    """The rooms as a table in Markdown; without sizes, so that only a change of structure makes the page stale."""
    lines = ["| room | what it is | imports |", "|---|---|---|"]
    lines += [f"| `{room.name}` | {room.says} | {', '.join(sorted(room.imports)) or '-'} |" for room in found]
    return "\n".join(lines)


def sizes(found: list[Room]) -> str:
    """The rooms with their sizes, for a terminal."""
    width = max(len(room.name) for room in found)
    lines = [f"{'ROOM':{width}}  MODULES  LINES  IMPORTS"]
    lines += [
        f"{room.name:{width}}  {room.modules:7}  {room.lines:5}  {', '.join(sorted(room.imports)) or '-'}"
        for room in found
    ]
    return "\n".join(lines)


def picture(found: list[Room]) -> str:
    """The rooms as a drawing (Mermaid): an arrow to what a room imports, unless a longer way shows it already.

    A parted room is drawn as one.
    """
    names = dict.fromkeys(room.whole for room in found)
    edges = {
        name: frozenset(other.partition("/")[0] for room in found if room.whole == name for other in room.imports)
        - {name}
        for name in names
    }
    lines = ["```mermaid", "flowchart TD"]
    arrows = direct(edges)
    lines += [f"    {name}" for name in names if not arrows[name] and name not in set().union(*edges.values())]
    lines += [f"    {name} --> {other}" for name in names for other in arrows[name]]
    return "\n".join([*lines, "```"])


def direct(edges: Mapping[str, frozenset[str]]) -> dict[str, list[str]]:
    """The arrows to draw: those that no other way already shows. `edges` must have no circle."""

    def reached(name: str) -> set[str]:
        return {name}.union(*(reached(other) for other in edges.get(name, ())))

    return {
        name: sorted(
            other for other in others if not any(other in reached(between) for between in others if between != other)
        )
        for name, others in edges.items()
    }


@dataclass(frozen=True)
class Step:
    """One step of a walk: functions of one file."""

    walk: str
    file: str
    names: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Where the file lies; plugins are named with their package."""
        return PLUGINS.parent / self.file if self.file.startswith(PLUGINS.name) else CORE / self.file


def drawn_anew(text: str, rooms: list[Room]) -> str:
    """The document with the drawing that fits these rooms."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n\n{picture(rooms)}\n\n{table(rooms)}\n\n{END}{after}"


def walks(text: str) -> Iterator[tuple[str, list[Step]]]:
    """Every walk of the document with its steps."""
    for walk in _WALK.finditer(text):
        title = walk["title"].strip()
        yield (
            title,
            [
                Step(title, step["file"], tuple(name.strip() for name in step["names"].split(",")))
                for step in _STEP.finditer(walk["body"])
            ],
        )


def missing(steps: list[Step]) -> list[str]:
    """What is wrong with a walk: files and functions that are not there, steps that no earlier step leads to."""
    wrong: list[str] = []
    seen = ""
    for number, step in enumerate(steps, 1):
        if not step.path.is_file():
            wrong.append(f"step {number}: there is no {step.file}")
            continue
        source = step.path.read_text()
        for name in step.names:
            last = name.rpartition(".")[2]
            defined = re.compile(rf"^[^#\n]*\b(def|class|cdef|cpdef)\b[^\n=]*\b{last}\b[^\n]*", re.MULTILINE)
            if not defined.search(source):
                wrong.append(f"step {number}: {step.file} defines no {last}")
            elif seen and not re.search(rf"\b{last}\b", seen + defined.sub("", source)):
                wrong.append(f"step {number}: no step before it names {last}")
        seen += source
    return wrong
