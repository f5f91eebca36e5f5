"""What the table of the paired run says, from windows with known figures."""

import pytest

from bench.contender import CASES, Window
from bench.paired import COLUMNS, judge, line, promised, row

CASE = CASES[0]


def pair(base_us: float, other_us: float) -> tuple[Window, Window]:
    """One round in which the base took that much CPU per command and the other this much."""
    return Window(1000, base_us, 50), Window(2000, other_us, 40)


def test_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    # A busy neighbour doubles both windows of the second round and changes nothing.
    verdict = judge(CASE, [pair(20, 2), pair(40, 4), pair(20, 4)])
    assert verdict.cpu_ratio == 10
    assert (verdict.cpu_ratio_least, verdict.cpu_ratio_most) == (5, 10)
    assert verdict.rate_ratio == 2


def test_figures_are_medians_field_by_field() -> None:
    verdict = judge(CASE, [pair(20, 2), pair(40, 4), pair(30, 9)])
    assert verdict.base == Window(1000, 30, 50)
    assert verdict.other == Window(2000, 4, 40)


def test_row_has_a_cell_below_every_heading() -> None:
    text = row(judge(CASE, [pair(20, 2)]))
    assert len(text) == len(line(COLUMNS))
    assert text.startswith(CASE.name)


def test_every_promise_of_the_project_has_a_case() -> None:
    assert {case.name: case.wanted for case in CASES} == {
        "4K read 1x1": 1.2,
        "4K read 1x32": 8,
        "4K read 16x8": 8,
        "4K read 256x4": 7,
        "64K read 8x8": 2.2,
        "256K read 4x4": 1.6,
        "4K write 16x8": 4,
    }


def test_reads_of_a_differencing_child_have_a_promise_of_their_own() -> None:
    promises = {case.name: promised(case, "goldherd", "overlay") for case in CASES}
    assert promises.pop("4K write 16x8") is None
    assert set(promises.values()) == {0.87}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_name_tells_the_shape(case: object) -> None:
    assert isinstance(case, type(CASE))
    size, kind, shape = case.name.split()
    sessions, depth = map(int, shape.split("x"))
    assert (case.sessions, case.depth) == (sessions, depth)
    assert case.block_bytes == int(size.removesuffix("K")) * 1024
    assert case.write is (kind == "write")
