"""The house, read from its source: rooms, their sizes, and who imports whom.

`scripts/rooms` prints it, docs/architecture.md shows it, and tests/test_layers.py holds the walls.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CORE, PLUGINS = ROOT / "core" / "goldherd", ROOT / "plugins" / "goldherd_plugins"
DOCUMENT = ROOT / "docs" / "architecture.md"

KINDS = ("py", "pyx", "pxd", "pyi")
"""Files in which an import can stand."""

WIDEST = 16
"""Modules of a room."""

LONGEST = 4000
"""Lines of a room; stubs repeat what stands beside them and do not count."""

_IMPORT = re.compile(
    r"^\s*(?:from\s+([\w.]+)\s+c?import\s+(\([^)]*\)|[^\n#]*)|c?import\s+([\w.]+(?:\s*,\s*[\w.]+)*))",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Room:
    """A folder of goldherd/, or a file that lies directly in it."""

    name: str
    says: str
    modules: int
    lines: int
    imports: frozenset[str] = field(default_factory=frozenset)


def sources(folder: Path) -> list[Path]:
    """Every file of a folder in which an import can stand."""
    return sorted(path for kind in KINDS for path in folder.rglob(f"*.{kind}"))


def imported(path: Path) -> Iterator[str]:
    """The parts of goldherd that a file imports: the name after `goldherd.`, be it room or file."""
    for module, names, plain in _IMPORT.findall(path.read_text()):
        for name in plain.split(",") if plain else [module]:
            parts = name.strip().split(".")
            if parts[0] == "goldherd" and len(parts) > 1:
                yield parts[1]
            elif parts == ["goldherd"] and names:
                for wanted in re.findall(r"\w+(?:\s+as\s+\w+)?", names):
                    known = wanted.split()[0]
                    if (CORE / known).is_dir() or any(CORE.glob(f"{known}.p*")):
                        yield known


def rooms() -> list[Room]:
    """The rooms of goldherd, by name."""
    folders = sorted(path for path in CORE.iterdir() if path.is_dir() and sources(path))
    names = {folder.name for folder in folders}
    found = []
    for folder in folders:
        files = sources(folder)
        counted = [path for path in files if path.suffix != ".pyi"]
        found.append(
            Room(
                folder.name,
                _first_sentence(folder / "__init__.py"),
                len({path.with_suffix("") for path in counted if path.stem != "__init__"}),
                sum(path.read_text().count("\n") for path in counted),
                frozenset(name for path in files for name in imported(path) if name in names - {folder.name}),
            )
        )
    return found


def _first_sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text())) if path.exists() else None
    return re.split(r"(?<=\.)\s", " ".join((text or "").split()))[0]


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


def table(found: list[Room]) -> str:
    """The rooms as a table in Markdown."""
    lines = ["| room | what it is | modules | lines | imports |", "|---|---|--:|--:|---|"]
    lines += [
        f"| `{room.name}` | {room.says} | {room.modules} | {room.lines} | {', '.join(sorted(room.imports)) or '-'} |"
        for room in found
    ]
    return "\n".join(lines)


def picture(found: list[Room]) -> str:
    """The rooms as a drawing (Mermaid): an arrow to what a room imports, unless a longer way shows it already."""
    arrows = direct({room.name: room.imports for room in found})
    lines = ["```mermaid", "flowchart TD"]
    lines += [f"    {room.name}[{room.name}<br>{room.modules} modules, {room.lines} lines]" for room in found]
    lines += [f"    {name} --> {other}" for name in sorted(arrows) for other in arrows[name]]
    return "\n".join([*lines, "```"])
