"""Wireshark over the whole run of the conformance suite; see capture.py."""

import pytest

from tests.conformance.capture import WholeRun


@pytest.mark.interop
@pytest.mark.timeout(1500)
def test_every_kind_of_pdu_was_captured(whole_run: WholeRun) -> None:
    """Or the silence of the dissectors would say nothing."""
    assert {0x20, 0x21, 0x22, 0x23, 0x25, 0x26, 0x31} <= whole_run.opcodes


@pytest.mark.interop
@pytest.mark.timeout(1500)
def test_no_pdu_of_ours_is_malformed_or_an_expert_error(whole_run: WholeRun) -> None:
    assert whole_run.complaints == []
