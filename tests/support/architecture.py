"""What docs/architecture.md promises: a drawing that is the code's, and walks whose every step exists.

A walk is a list under a heading "Walk: ...", each step a line like

    1. `session/receive.pyx: consume` finds whole PDUs ...

The first step is entered from outside; every later one must be named in the source of a step before it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.rooms import CORE, PLUGINS, Room, picture, table

BEGIN, END = "<!-- rooms: drawn by scripts/rooms --write -->", "<!-- end of rooms -->"
_STEP = re.compile(r"^\d+\. `(?P<file>[\w/.]+): (?P<names>[\w., ]+)`", re.MULTILINE)
_WALK = re.compile(r"^#+ Walk: (?P<title>[^\n]+)\n(?P<body>.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)


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
            if not re.search(rf"^[^#\n]*\b(def|class|cdef|cpdef)\b[^\n=]*\b{last}\b", source, re.MULTILINE):
                wrong.append(f"step {number}: {step.file} defines no {last}")
            elif seen and not re.search(rf"\b{last}\b", seen + source.replace(f"def {last}", "", 1)):
                wrong.append(f"step {number}: no step before it names {last}")
        seen += source
    return wrong
