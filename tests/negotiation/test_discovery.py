"""What SendTargets answers (RFC 7143 appendix C)."""

import pytest
from goldherd.model.portals import Portal
from goldherd.negotiation.discovery import send_targets

from tests.support.coroutines import finished

NAMES = ["iqn.2026-11.io.goldherd:a", "iqn.2026-11.io.goldherd:b"]
PORTALS = [Portal("192.0.2.1", 3260), Portal("2001:db8::1", 3260, tag=2)]
ADDRESSES = [("TargetAddress", "192.0.2.1:3260,1"), ("TargetAddress", "[2001:db8::1]:3260,2")]


def ask(value, own=None):
    async def visible():
        return NAMES

    return finished(send_targets(value, own, visible, PORTALS))


def test_all_in_a_discovery_session_lists_what_is_visible():
    assert ask("All") == [("TargetName", NAMES[0]), *ADDRESSES, ("TargetName", NAMES[1]), *ADDRESSES]


def test_name_in_a_discovery_session():
    assert ask(NAMES[1]) == [("TargetName", NAMES[1]), *ADDRESSES]
    assert ask(NAMES[1].upper()) == [("TargetName", NAMES[1]), *ADDRESSES]


@pytest.mark.parametrize("value", ["iqn.2026-11.io.goldherd:hidden", "all", "*", "../x", "iqn." + "y" * 251])
def test_unknown_name_gets_an_empty_answer(value):
    assert ask(value) == []


def test_nothing_in_a_discovery_session_is_rejected():
    assert ask("") is None


@pytest.mark.parametrize("value", ["All", "", NAMES[0]])
def test_normal_session_sees_its_own_target(value):
    assert ask(value, own=NAMES[0]) == [("TargetName", NAMES[0]), *ADDRESSES]


def test_normal_session_sees_no_other_target():
    assert ask(NAMES[1], own=NAMES[0]) == []
