"""Statuses that a login meets only when something changes around it, or its limits are others than usual; the rest have
their tests where they belong."""

from pathlib import Path

import pytest
from goldherd import limits

from tests.support.targets import PREFIX
from tests.target.daemon import Herd
from tests.target.initiator import (
    LINUX_ISID,
    NORMAL_KEYS,
    Connection,
    LoginPhase,
    LoginRefusedError,
    connect,
    loader_isid,
    log_in,
)
from tests.target.inprocess import serving

INITIATOR_ERROR, REMOVED, OUT_OF_RESOURCES = 0x0200, 0x0204, 0x0302
OPERATIONAL = 0x04
"""The stage, and no wish to leave it."""


def test_a_target_that_is_removed_during_a_login_is_gone(herd: Herd) -> None:
    with herd.serve() as daemon:
        connection = Connection(connect(daemon.portal))
        with connection.socket:
            phase = LoginPhase(connection, LINUX_ISID)
            names = {"InitiatorName": f"{PREFIX}.node:pc-002", "TargetName": f"{PREFIX}:pc-002"}
            phase.ask(0x81, {**names, "SessionType": "Normal"})
            herd.do("node", "remove", "pc-002", "--yes")
            with pytest.raises(LoginRefusedError) as refusal:
                phase.ask(0x87, NORMAL_KEYS)
            assert refusal.value.status == REMOVED
        with daemon.log_in("pc-001") as session:
            session.inquire()


def test_more_sessions_than_the_limit_are_out_of_resources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A condition that passes: the same login succeeds when another session has ended."""
    monkeypatch.setattr(limits, "SESSIONS_MAX", 2)
    target, initiator = f"{PREFIX}:one", f"{PREFIX}.node:one"
    with (
        serving(tmp_path) as portal,
        log_in(portal, target, initiator, isid=loader_isid(1)) as first,
        log_in(portal, target, initiator, isid=loader_isid(2)),
    ):
        with pytest.raises(LoginRefusedError) as refusal:
            log_in(portal, target, initiator, isid=loader_isid(3))
        assert refusal.value.status == OUT_OF_RESOURCES
        first.log_out()
        with log_in(portal, target, initiator, isid=loader_isid(3)) as third:
            third.make_ready().inquire()


@pytest.mark.parametrize(
    ("limited", "passes", "value"),
    [({}, 30, "v"), ({"login_rounds": 9}, 8, "v"), ({"login_text_bytes": 4096}, 15, "v" * 239)],
    ids=["as it comes", "rounds", "text"],
)
def test_how_long_a_login_may_be_is_configured(
    tmp_path: Path, limited: dict[str, int], passes: int, value: str
) -> None:
    with serving(tmp_path, **limited) as portal, connect(portal) as socket:
        phase = LoginPhase(Connection(socket), LINUX_ISID)
        names = {"InitiatorName": f"{PREFIX}.node:one", "TargetName": f"{PREFIX}:one", "SessionType": "Normal"}
        phase.ask(0x81, names)
        for number in range(passes):
            phase.ask(OPERATIONAL, {f"X-org.example.{number}": value})
        with pytest.raises(LoginRefusedError) as refusal:
            for number in range(passes, passes + 2):
                phase.ask(OPERATIONAL, {f"X-org.example.{number}": value})
        assert refusal.value.status == INITIATOR_ERROR
