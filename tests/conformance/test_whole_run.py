"""libiscsi's whole suite against goldherd, with Wireshark listening (capture.py): one run, judged by both."""

import contextlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conformance import goldherd_set
from tests.conformance.capture import Judge, WholeRun
from tests.conformance.run import Around

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> WholeRun:
    """All 230 tests over all five units, each family under Wireshark's eyes."""
    found, folder = WholeRun(), tmp_path_factory.mktemp("conformance")
    judges: list[Judge] = []

    def watched(ports: Sequence[int]) -> Around:
        judges.append(Judge(ports, folder, beside))
        return judges[0].around

    printed = io.StringIO()
    with ThreadPoolExecutor(1) as beside, contextlib.redirect_stdout(printed):
        found.code = goldherd_set.main([], folder, watched)
    judges[0].add_to(found)
    found.table = printed.getvalue()
    return found


def test_every_test_passes_and_none_is_skipped(whole_run: WholeRun) -> None:
    print(whole_run.table)
    assert whole_run.code == 0
    assert whole_run.table.splitlines()[-1] == "230 tests: 230 passed, 0 FAILED, 0 skipped, 0 CRASHED, 0 HUNG"


def test_every_kind_of_pdu_was_captured(whole_run: WholeRun) -> None:
    """Or the silence of the dissectors would say nothing."""
    assert {0x20, 0x21, 0x22, 0x23, 0x25, 0x26, 0x31} <= whole_run.opcodes


def test_no_pdu_of_ours_is_malformed_or_an_expert_error(whole_run: WholeRun) -> None:
    assert whole_run.complaints == []
