"""Linux with open-iscsi, sg3-utils, multipath-tools and fio finds what it needs; each check of guest/checks by name."""

import re

import pytest

from tests.guest.system import GUEST

pytestmark = [pytest.mark.boot, pytest.mark.timeout(1500)]
CHECKS = re.findall(r"^check (\w+)", (GUEST / "checks").read_text(), re.MULTILINE)


@pytest.mark.parametrize("check", [*CHECKS, "daemon_stops_in_good_order"])
def test_linux(verdicts: dict[str, str], check: str) -> None:
    assert verdicts.get(check, "it was not reached") == ""


def test_nothing_else_went_wrong(verdicts: dict[str, str]) -> None:
    """A service that did not start, a guest that hung."""
    assert {name: why for name, why in verdicts.items() if why and name not in CHECKS} == {}
