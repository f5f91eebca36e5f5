"""Where the source lies, and which rooms a file imports; imports.py knows modules, architecture.py draws rooms."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CORE, PLUGINS = ROOT / "core" / "goldherd", ROOT / "plugins" / "goldherd_plugins"
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
