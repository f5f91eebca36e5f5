"""The table of task phases is what the source does: functions, phases, and the table in docs/phases.md."""

import re
from pathlib import Path

import pytest
from goldherd.session import phases
from goldherd.session.phases import TRANSITIONS, Phase, may_follow

SOURCES = [
    path for room in ("session", "reactor") for path in (Path(phases.__file__).parent.parent / room).glob("*.pyx")
]
PAGE = Path(__file__).parents[1] / "docs" / "phases.md"

FUNCTION = re.compile(r"^cdef (?:inline )?[\w* ]+?\b(\w+)\(.*(?:noexcept nogil:|,)$")
CHANGE = re.compile(r"\b(?:enter\(task|enqueue\(core, task), (.*)\)$")


def changes() -> set[tuple[str, str]]:
    """Function and phase of every call that changes a phase, read from the source."""
    found = set()
    for path in SOURCES:
        function = ""
        for line in path.read_text().splitlines():
            if begins := FUNCTION.match(line):
                function = f"{path.stem}.{begins[1]}"
            elif change := CHANGE.search(line.split("#")[0].rstrip()):
                found |= {(function, phase) for phase in re.findall(r"PHASE_\w+", change[1])}
    return found


def test_table_names_the_functions_that_change_a_phase() -> None:
    table = {
        (function, after.name)
        for following in TRANSITIONS.values()
        for after, functions in following.items()
        for function in functions
    }
    assert table == changes()


def test_phases_change_nowhere_else() -> None:
    elsewhere = [
        f"{path.name}: {line.strip()}"
        for path in SOURCES
        for line in path.read_text().splitlines()
        if re.search(r"\.phase = ", line)
    ]
    assert not elsewhere


def test_every_phase_is_in_the_table_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(Phase)
    assert {after for following in TRANSITIONS.values() for after in following} == set(Phase)


@pytest.mark.parametrize("before", Phase)
def test_compiled_code_checks_the_same_table(before: Phase) -> None:
    assert {after for after in Phase if may_follow(before, after)} == set(TRANSITIONS[before])


def test_a_task_in_any_phase_can_end() -> None:
    assert all(may_follow(before, Phase.PHASE_FREE) for before in Phase)


def test_page_shows_the_table() -> None:
    rows = [
        f"| `{before.name}` | `{after.name}` | {', '.join(f'`{function}`' for function in functions)} |"
        for before, following in TRANSITIONS.items()
        for after, functions in following.items()
    ]
    shown = [line for line in PAGE.read_text().splitlines() if line.startswith("| `PHASE_")]
    assert shown == rows
