"""Who may log in to what: initiator names, CHAP in both directions, and what discovery shows."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import run_tool
from tests.support.targets import PREFIX
from tests.target.daemon import Daemon, Herd, running
from tests.target.initiator import ALGORITHMS, Chap, LoginRefusedError, log_in

SECRET, OTHER, WRONG = "a-secret-of-16-b", "another-16-bytes", "not-the-secret--"
STRANGER = "iqn.1994-05.com.redhat:stranger"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files `ours` and `theirs`."""
    folder = tmp_path_factory.mktemp("secrets")
    for name, secret in (("ours", SECRET), ("theirs", OTHER)):
        (folder / name).write_text(f"{secret}\n")
        (folder / name).chmod(0o600)
    return folder


@pytest.fixture(scope="module")
def shared(template: Path, secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Herd:
    """With a node `kiosk` that is open to all, and a node `proved` that asks for CHAP."""
    herd = Herd(tmp_path_factory.mktemp("access") / "data")
    shutil.copytree(template, herd.data)
    herd.do("node", "add", "kiosk", "--image", "lab", "--initiator", "any")
    herd.do("node", "add", "proved", "--image", "lab", "--chap-user", "u", "--chap-secret-file", secrets / "ours")
    return herd


@pytest.fixture(scope="module")
def daemon(shared: Herd) -> Iterator[Daemon]:
    """One daemon for all tests that change nothing."""
    with shared.serve() as served:
        yield served


@pytest.fixture(scope="module")
def mutual(raw: Path, secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """An export that asks for CHAP and proves itself too."""
    folder = tmp_path_factory.mktemp("mutual")
    chap = ("--chap-user", "u", "--chap-secret-file", secrets / "ours")
    proof = ("--mutual-user", "goldherd", "--mutual-secret-file", secrets / "theirs")
    disk = f"{raw},read-only"
    with running(folder / "log", "--data", folder / "data", "export", disk, *chap, *proof) as served:
        yield served


def refusal(daemon: Daemon, target: str, initiator: str | None = None, chap: Chap | None = None) -> int:
    """The status with which a login ends."""
    with pytest.raises(LoginRefusedError) as refused:
        daemon.log_in(target, initiator=initiator, chap=chap)
    return refused.value.status


def test_only_its_own_initiator_finds_a_node(daemon: Daemon) -> None:
    for initiator in (f"{PREFIX}.node:pc-002", STRANGER, f"{PREFIX}.node:pc-0011"):
        assert refusal(daemon, "pc-001", initiator) == 0x0203
    assert f"does not admit it: initiator {STRANGER}" in daemon.log
    assert f"admitted is initiator:{PREFIX}.node:pc-001" in daemon.log


def test_node_that_does_not_exist_looks_like_a_hidden_one(daemon: Daemon) -> None:
    for target in ("pc-999", "iqn.2020-01.com.example:disk", f"{PREFIX}:export"):
        assert refusal(daemon, target) == 0x0203


def test_discovery_shows_an_initiator_its_own_targets_only(daemon: Daemon) -> None:
    assert daemon.discover(f"{PREFIX}.node:pc-003") == [f"{PREFIX}:kiosk", f"{PREFIX}:pc-003"]
    assert daemon.discover(STRANGER) == [f"{PREFIX}:kiosk"]


def test_send_targets_in_a_normal_session_shows_its_own_target(daemon: Daemon) -> None:
    with daemon.log_in("pc-001") as session:
        host, port = daemon.portal
        shown = [("TargetName", f"{PREFIX}:pc-001"), ("TargetAddress", f"{host}:{port},1")]
        for asked in ("", "All", f"{PREFIX}:pc-001"):
            assert session.text(f"SendTargets={asked}\0") == shown
        assert session.text(f"SendTargets={PREFIX}:pc-002\0") == []


def test_any_opens_a_node_to_everybody(daemon: Daemon) -> None:
    daemon.log_in("kiosk", initiator=STRANGER).socket.close()
    run_tool("iscsi-inq", daemon.url("kiosk"))
    listing = run_tool("iscsi-ls", "iscsi://{}:{}".format(*daemon.portal))
    assert f"{PREFIX}:kiosk" in listing and "pc-0" not in listing


def test_names_are_compared_without_regard_to_case(daemon: Daemon) -> None:
    target = f"iqn{PREFIX[3:].upper()}:PC-001"
    with log_in(daemon.portal, target, f"{PREFIX}.Node:Pc-001") as session:
        assert session.make_ready().read(0, 1)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_node_with_chap_asks_for_proof(daemon: Daemon, algorithm: int) -> None:
    with daemon.log_in("proved", chap=Chap("u", SECRET.encode(), algorithm)) as session:
        assert session.read(0, 1)
    for chap in (Chap("u", WRONG.encode(), algorithm), Chap("v", SECRET.encode(), algorithm), None):
        assert refusal(daemon, "proved", chap=chap) == 0x0201


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_export_proves_itself_in_turn(mutual: Daemon, algorithm: int) -> None:
    with mutual.log_in("export", chap=Chap("u", SECRET.encode(), algorithm, "goldherd", OTHER.encode())) as session:
        assert session.read(0, 1)


def test_tools_with_user_and_secret_in_the_url(mutual: Daemon) -> None:
    url = mutual.url("export").removeprefix("iscsi://")
    run_tool("qemu-img", "info", "-f", "raw", f"iscsi://u%{SECRET}@{url}")
    run_tool("iscsi-inq", f"iscsi://u%{SECRET}@{url}")
    for who in (f"u%{WRONG}@", f"v%{SECRET}@", ""):
        with pytest.raises(AssertionError, match=r"(?i)auth|log ?in|denied|fail"):
            run_tool("qemu-img", "info", "-f", "raw", f"iscsi://{who}{url}")


def test_discovery_of_an_export_asks_for_what_its_target_asks_for(mutual: Daemon) -> None:
    with pytest.raises(LoginRefusedError, match="0x0201"):
        mutual.discover(STRANGER)


def test_nothing_that_is_told_contains_a_secret(daemon: Daemon, shared: Herd) -> None:
    daemon.log_in("proved", chap=Chap("u", SECRET.encode())).socket.close()
    assert refusal(daemon, "proved", chap=Chap("u", WRONG.encode())) == 0x0201
    told = [daemon.log, (shared.data / "goldherd.log").read_text()]
    told += [shared.do("status", "--json"), shared.do("node", "list", "--json"), shared.do("node", "show", "proved")]
    for text in told:
        for secret in (SECRET, WRONG):
            assert secret not in text and secret.encode().hex() not in text
