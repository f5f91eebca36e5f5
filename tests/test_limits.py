"""Bounds: native/limits.pxd repeats limits.py for compiled code; relations are checked; no bound stands elsewhere."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from goldherd import limits

CORE = Path(limits.__file__).parent
LIST = CORE / "native" / "limits.pxd"
COMPILED = {name: int(number) for name, number in re.findall(r"^    (\w+) = (\d+)", LIST.read_text(), re.MULTILINE)}

BOUND = re.compile(r"^\s+([A-Z]\w*(?:_MAX|_MIN|_MILLISECONDS|_SECONDS|_EVENTS|_PAGES)) = \S", re.MULTILINE)
"""A member of an enum whose name is that of a bound."""
FOLLOW = {
    "COLLECT_BYTES_MAX": "from DATA_SEGMENT_BYTES_MAX",
    "GENERATION_MAX": "from the bits of a tag",
    "BUFFER_BITS_MIN": "from WRITE_BUFFER_BYTES_MIN",
    "BUFFER_BITS_MAX": "from WRITE_CHUNK_BYTES_MAX",
    "TASK_ATTRIBUTE_MAX": "RFC 7143 11.3.1",
}
"""Names that look like bounds and follow from others, or from a standard."""


def test_compiled_code_has_limits() -> None:
    assert len(COMPILED) >= 40


@pytest.mark.parametrize("name", sorted(COMPILED))
def test_compiled_code_has_the_same_limit(name: str) -> None:
    assert COMPILED[name] == getattr(limits, name)


def test_no_bound_stands_in_compiled_code_outside_the_list() -> None:
    elsewhere = {
        f"{path.relative_to(CORE)}: {name}"
        for kind in ("*.pyx", "*.pxd")
        for path in CORE.rglob(kind)
        if path != LIST
        for name in BOUND.findall(path.read_text())
        if name not in FOLLOW
    }
    assert not elsewhere


def changed(name: str, value: int) -> ModuleType:
    """limits.py with one bound changed, imported anew."""
    source = re.sub(rf"^{name}: Final = .*$", f"{name}: Final = {value}", Path(limits.__file__).read_text(), flags=re.M)
    spec = importlib.util.spec_from_loader("changed_limits", loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    exec(compile(source, "limits.py", "exec"), module.__dict__)
    return module


def test_unchanged_limits_are_in_order() -> None:
    assert changed("COMMAND_WINDOW", limits.COMMAND_WINDOW).RELATIONS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COMMAND_WINDOW", 96),
        ("STALLED_BYTES_MAX", 262145),
        ("PLAN_RUNS_MAX", 64),
        ("PREBUILT_ANSWER_BYTES_MAX", 16384),
        ("EMIT_BYTES_MAX", 1000),
        ("LOGIN_RECEIVE_BYTES", 65537),
        ("SILENCE_SECONDS", 30),
        ("SESSIONS_MAX", 65536),
    ],
)
def test_bounds_that_do_not_fit_each_other_are_refused(name: str, value: int) -> None:
    with pytest.raises(AssertionError, match="it is not so that"):
        changed(name, value)


@pytest.mark.parametrize("name", ["COMMAND_WINDOW", "PLAN_RUNS_MAX", "PARAMETER_BYTES_MAX", "SENSE_BYTES_MAX"])
def test_compiled_relations_name_the_same_bounds(name: str) -> None:
    """Each bound on which compiled code relies stands in a relation that its compiler checks."""
    assert re.search(rf"^    require\(.*\b{name}\b", LIST.read_text(), re.MULTILINE)
