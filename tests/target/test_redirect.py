"""A plugin sends logins to another goldherd; real initiators follow."""

import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.targets import PREFIX
from tests.target.conftest import install
from tests.target.daemon import Daemon, Herd, running
from tests.target.initiator import LoginPhase, LoginRefusedError, Session, connect, log_in

PLUGIN = """
    import os
    from goldherd import Redirect, hookimpl

    @hookimpl
    def redirect_login(initiator, target, portal):
        where = os.environ.get("REDIRECT_TO")
        if where and target.endswith(":pc-001"):
            return Redirect(where, permanent="PERMANENT" in os.environ)
"""
TARGET, INITIATOR = f"{PREFIX}:pc-001", f"{PREFIX}.node:pc-001"


@pytest.fixture
def elsewhere(herd: Herd, raw: Path, site: Path, tmp_path: Path) -> Iterator[Daemon]:
    """Another server with a target of the same name."""
    install("sender", textwrap.dedent(PLUGIN), site)
    export = ("--data", tmp_path / "other", "export", f"{raw},read-only", "--target", TARGET)
    with running(tmp_path / "other.log", *export) as other:
        yield other


def status_and_address(daemon: Daemon) -> tuple[int, str]:
    """What the first login request is answered."""
    with connect(daemon.portal) as raw:
        phase = LoginPhase(Session(raw), bytes(6))
        names = {"InitiatorName": INITIATOR, "TargetName": TARGET, "AuthMethod": "None"}
        try:
            phase.ask(0x00, names)
        except LoginRefusedError as refusal:
            return refusal.status, refusal.text
    raise AssertionError("the login was not redirected")


@pytest.mark.parametrize(("permanent", "status"), [(False, 0x0101), (True, 0x0102)])
def test_a_login_is_answered_with_the_other_portal(
    herd: Herd, elsewhere: Daemon, monkeypatch: pytest.MonkeyPatch, permanent: bool, status: int
) -> None:
    where = "{}:{}".format(*elsewhere.portal)
    monkeypatch.setenv("REDIRECT_TO", where)
    if permanent:
        monkeypatch.setenv("PERMANENT", "1")
    with herd.serve() as daemon:
        assert status_and_address(daemon) == (status, f"TargetAddress={where}\0")
        with log_in(daemon.portal, f"{PREFIX}:pc-002", f"{PREFIX}.node:pc-002") as session:
            session.make_ready().inquire()


def test_a_stranger_is_sent_nowhere(herd: Herd, elsewhere: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom the target does not admit learns nothing of it, not even where else it is."""
    monkeypatch.setenv("REDIRECT_TO", "{}:{}".format(*elsewhere.portal))
    with herd.serve() as daemon, pytest.raises(LoginRefusedError) as refusal:
        log_in(daemon.portal, TARGET, "iqn.2020-01.com.example:stranger")
    assert (refusal.value.status, refusal.value.text) == (0x0203, "")


@pytest.mark.interop
def test_libiscsi_and_qemu_follow(herd: Herd, elsewhere: Daemon, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIRECT_TO", "{}:{},1".format(*elsewhere.portal))
    with herd.serve() as daemon:
        url = daemon.url("pc-001")
        inquiry = ["iscsi-inq", "--initiator-name", INITIATOR, url]
        done = subprocess.run(inquiry, capture_output=True, text=True, timeout=60, check=True)
        assert "GOLDHERD" in done.stdout
        options = f"driver=iscsi,transport=tcp,portal={daemon.portal[0]}:{daemon.portal[1]},target={TARGET},lun=0"
        options += f",initiator-name={INITIATOR}"
        compare = ["qemu-img", "compare", "--image-opts", options, f"driver=raw,file.filename={raw},file.locking=off"]
        subprocess.run(compare, capture_output=True, text=True, timeout=120, check=True)
        assert herd.status()["daemon"]["sessions"] == []
        assert f"A plugin sends {INITIATOR} to" in daemon.log


def test_a_plugin_that_names_no_port_ends_the_login_with_a_target_error(
    herd: Herd, elsewhere: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIRECT_TO", "10.0.0.2")
    with herd.serve() as daemon:
        assert status_and_address(daemon)[0] == 0x0300
        assert "that must be HOST:PORT" in daemon.log
