"""The runner of libiscsi's suite: what it reads, how it judges, and that it works against a target."""

import pytest

from tests.conformance import run
from tests.conformance.run import Outcome

SUMMARY = """
Suite: Read10
  Test: Simple ...{word}

Run Summary:    Type  Total    Ran Passed Failed Inactive
              suites      1      1    n/a      0        0
               tests      1      1      {passed}      {failed}        0
             asserts   8745   8745   8745      0      n/a
"""


def printed(word: str, *, failed: int = 0) -> str:
    return SUMMARY.format(word=word, passed=1 - failed, failed=failed)


@pytest.mark.parametrize(
    ("text", "code", "outcome"),
    [
        (printed("passed"), 0, Outcome.PASSED),
        (printed("FAILED", failed=1), 0, Outcome.FAILED),
        (printed("    [SKIPPED] Media is not removable.\npassed"), 0, Outcome.SKIPPED),
        (printed("FAILED    [SKIPPED] half of it", failed=1), 0, Outcome.FAILED),
        (printed("passed"), -11, Outcome.CRASHED),
        ("Failed to connect", 10, Outcome.CRASHED),
        ("", 0, Outcome.CRASHED),
    ],
)
def test_judge(text: str, code: int, outcome: Outcome) -> None:
    assert run.judge(text, code) is outcome


@pytest.mark.parametrize(
    ("outcomes", "outcome"),
    [
        ([Outcome.PASSED], Outcome.PASSED),
        ([Outcome.SKIPPED, Outcome.PASSED], Outcome.PASSED),
        ([Outcome.SKIPPED, Outcome.SKIPPED], Outcome.SKIPPED),
        ([Outcome.PASSED, Outcome.FAILED], Outcome.FAILED),
        ([Outcome.PASSED, Outcome.HUNG], Outcome.HUNG),
    ],
)
def test_verdict_over_several_units(outcomes: list[Outcome], outcome: Outcome) -> None:
    assert run.verdict("Read10.Simple", outcomes) is outcome


def test_a_test_that_is_wrong_itself_is_accepted() -> None:
    assert run.verdict(next(iter(run.EXPECTED)), [Outcome.CRASHED]) is Outcome.PASSED


@pytest.mark.interop
def test_the_suite_is_the_one_the_expectations_are_for() -> None:
    names = run.list_tests()
    assert len(names) == len(set(names)) == run.TESTS
    assert names[0] == "CompareAndWrite.Simple"
    assert set(run.EXPECTED) | set(run.SLOW) <= set(names)


@pytest.mark.interop
def test_table_for_a_target(tgtd_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main([tgtd_url, "--only", "Read6"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 tests: 2 passed, 0 FAILED")


@pytest.mark.interop
def test_a_skipped_test_is_no_success(tgtd_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main([tgtd_url, "--only", "PreventAllow.Simple", "--verbose"]) == 1
    assert "not removable" in capsys.readouterr().out


@pytest.mark.interop
def test_a_target_that_is_not_there() -> None:
    assert run.run_test("Read6.Simple", "iscsi://127.0.0.1:1/iqn.nowhere/0").outcome is Outcome.CRASHED


def test_unknown_family(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(run, "list_tests", lambda: ["Read6.Simple"])
    assert run.main(["iscsi://nowhere", "--only", "Read7"]) == 1
    assert "has no test Read7" in capsys.readouterr().err
