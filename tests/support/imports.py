"""Imports between the modules of goldherd, read from their source: who imports whom, and in which circles.

A module is a name without its ending: the files unit.pyx, unit.pxd and unit.pyi are one module. Imports that only a
type checker sees count too, because a reader has to follow them.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.rooms import CORE, KINDS, PLUGINS, sources

_IMPORT = re.compile(
    r"^\s*(?:from\s+([\w.]+)\s+c?import\s+(\([^)]*\)|[^\n#]*)|c?import\s+([\w.]+(?:\s*,\s*[\w.]+)*))",
    re.MULTILINE,
)


def module_of(path: Path) -> str:
    """The dotted name of a source file; a package is named like its folder."""
    root = next(root for root in (CORE.parent, PLUGINS.parent) if path.is_relative_to(root))
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, list[Path]]:
    """Every module of goldherd and its plugins, and its files."""
    found: dict[str, list[Path]] = {}
    for folder in (CORE, PLUGINS):
        for path in sources(folder):
            found.setdefault(module_of(path), []).append(path)
    return found


def imported_modules(text: str, known: Mapping[str, object]) -> Iterator[str]:
    """The known modules that a source text imports; `from package import name` means the module, if there is one."""
    for package, names, plain in _IMPORT.findall(text):
        for name in plain.split(",") if plain else ():
            if name.strip() in known:
                yield name.strip()
        for name in re.findall(r"(\w+)(?:\s+as\s+\w+)?", names):
            inner = f"{package}.{name}"
            if inner in known or package in known:
                yield inner if inner in known else package


def graph() -> dict[str, set[str]]:
    """Every module to the modules that it imports."""
    known = modules()
    return {
        module: {name for path in paths for name in imported_modules(path.read_text(), known)} - {module}
        for module, paths in known.items()
    }


def circles(edges: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """The sets of modules each of which reaches all others of its set."""
    reach = {name: _reached(name, edges) for name in edges}
    return {
        frozenset({name, *(other for other in reach[name] if name in reach.get(other, ()))})
        for name in edges
        if name in reach[name]
    }


def _reached(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += edges.get(name, ())
    return found


def folders() -> list[Path]:
    """Every folder of goldherd and its plugins that holds source files itself."""
    return sorted({path.parent for root in (CORE, PLUGINS) for path in sources(root)})


def size(folder: Path) -> tuple[int, int]:
    """(modules, lines) of the files that lie directly in a folder; stubs repeat other files and do not count."""
    files = [path for kind in KINDS if kind != "pyi" for path in folder.glob(f"*.{kind}")]
    return (
        len({path.with_suffix("") for path in files if path.stem != "__init__"}),
        sum(path.read_text().count("\n") for path in files),
    )
