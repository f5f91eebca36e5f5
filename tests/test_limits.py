"""Bounds: native/limits.pxd repeats limits.py for compiled code; relations are checked; no bound stands elsewhere."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from goldherd import limits

CORE = Path(limits.__file__).parent
PLUGINS = CORE.parent.parent / "plugins" / "goldherd_plugins"
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


BOUND_IN_PYTHON = re.compile(
    r"_?(?:[A-Z0-9_]*_)?(MAX|MIN|BYTES|SECONDS|MILLISECONDS|DESCRIPTORS|THREADS|ROUNDS|TRIES|DEPTH|LOOKS|TIMEOUT|WAITING)"
)
"""The name of a constant that is a bound: a size, a time or a count."""
LAID_OUT = {
    "files/verity.py": "the block size that every kernel with fs-verity takes",
    "files/outliving.py": "layout of the header",
    "files/space.py": "st_blocks counts in units of 512 bytes (stat(2))",
    "scsi/copying/extended_copy.py": "lengths of headers and descriptors (SPC-4 6.4)",
    "scsi/copying/odx.py": "lengths of headers and descriptors (SBC-3 5.7, 5.44)",
    "scsi/disk/provisioning.py": "lengths of the header and descriptors of UNMAP (SBC-3 5.28)",
    "scsi/disk/sanitize.py": "length of the header of OVERWRITE (SBC-3 5.24)",
    "scsi/identification/timestamp.py": "length of the parameter list of SET TIMESTAMP (SPC-4 6.43)",
    "scsi/identification/ports.py": "the last LUN of peripheral device addressing (SAM-5 4.7.7)",
    "scsi/prebuilt.py": "length of the longest CDB here",
    "scsi/reservations/persistent_out.py": "length of the parameter list (SPC-4 6.16.3)",
    "scsi/reservations/transport_id.py": "length of the header of a TransportID (SPC-4 7.6.4.6)",
    "scsi/state/rods.py": "layout of a ROD token (SPC-4 table 112), length of an HMAC-SHA-256",
    "target/login/neighbours.py": "the bytes of a MAC address",
    "wire/text.py": "RFC 7143 6.1: numbers have 64 bits",
    "auth_chap.py": "what Windows takes, told and not imposed",
    "filter_error.py": "the unit in which this filter counts",
    "vhd/create.py": "the format lays it out",
    "vhd/layout.py": "the format lays it out",
}
"""Files whose constants look like bounds and are fixed by a standard or a format, and by which."""


def numbers(source: str) -> Iterator[str]:
    """The names that a module binds to numbers."""
    for statement in ast.parse(source).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = getattr(statement, "value", None)
        for target in targets:
            if isinstance(target, ast.Name) and value is not None and is_number(value):
                yield target.id


def is_number(value: ast.expr) -> bool:
    """Whether an expression is made of numbers alone."""
    if isinstance(value, ast.BinOp):
        return is_number(value.left) and is_number(value.right)
    return isinstance(value, ast.Constant) and isinstance(value.value, int | float)


def bounds_outside_the_list() -> dict[str, list[str]]:
    """The constants of other files whose names are those of bounds, by file."""
    return {
        str(path.relative_to(root)): found
        for root in (CORE, PLUGINS)
        for path in root.rglob("*.py")
        if path != Path(limits.__file__)
        if (found := [name for name in numbers(path.read_text()) if BOUND_IN_PYTHON.fullmatch(name)])
    }


def test_no_bound_stands_in_python_outside_the_list() -> None:
    assert {path: names for path, names in bounds_outside_the_list().items() if path not in LAID_OUT} == {}


def test_exceptions_to_the_list_are_needed() -> None:
    assert set(LAID_OUT) <= bounds_outside_the_list().keys()


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
        ("PARAMETER_BYTES_MAX", 16777216),
        ("TRANSPORT_ID_NAME_BYTES_MAX", 240),
    ],
)
def test_bounds_that_do_not_fit_each_other_are_refused(name: str, value: int) -> None:
    with pytest.raises(AssertionError, match="it is not so that"):
        changed(name, value)


@pytest.mark.parametrize("name", ["COMMAND_WINDOW", "PLAN_RUNS_MAX", "PARAMETER_BYTES_MAX", "SENSE_BYTES_MAX"])
def test_compiled_relations_name_the_same_bounds(name: str) -> None:
    """Each bound on which compiled code relies stands in a relation that its compiler checks."""
    assert re.search(rf"^    require\(.*\b{name}\b", LIST.read_text(), re.MULTILINE)
