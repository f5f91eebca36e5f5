"""native/limits.pxd repeats limits.py for compiled code; both must say the same."""

import re
from pathlib import Path

import pytest
from goldherd import limits

LIST = Path(limits.__file__).with_name("native") / "limits.pxd"
COMPILED = {name: int(number) for name, number in re.findall(r"^    (\w+) = (\d+)", LIST.read_text(), re.MULTILINE)}


def test_compiled_code_has_limits() -> None:
    assert len(COMPILED) >= 20


@pytest.mark.parametrize("name", sorted(COMPILED))
def test_compiled_code_has_the_same_limit(name: str) -> None:
    assert COMPILED[name] == getattr(limits, name)
