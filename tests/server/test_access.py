"""Who may log in to what: initiator names, CHAP in both directions, and what discovery shows."""

from pathlib import Path

import pytest

from tests.interop.conftest import run_tool
from tests.server.daemon import Herd, running
from tests.server.initiator import ALGORITHMS, Chap, LoginRefusedError, log_in
from tests.support.targets import PREFIX

SECRET, OTHER = "a-secret-of-16-b", "another-16-bytes"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def mutual_secret(tmp_path: Path) -> Path:
    path = tmp_path / "mutual-secret"
    path.write_text(f"{OTHER}\n")
    path.chmod(0o600)
    return path


def test_only_its_own_initiator_finds_a_node(herd: Herd) -> None:
    with herd.serve() as daemon:
        for initiator in (f"{PREFIX}.node:pc-002", "iqn.1994-05.com.redhat:stranger", f"{PREFIX}.node:pc-0011"):
            with pytest.raises(LoginRefusedError) as refusal:
                daemon.log_in("pc-001", initiator=initiator)
            assert refusal.value.status == 0x0203
        assert "not on the access list" in daemon.log


def test_node_that_does_not_exist_looks_like_a_hidden_one(herd: Herd) -> None:
    with herd.serve() as daemon:
        for target in ("pc-999", "iqn.2020-01.com.example:disk", f"{PREFIX}:export"):
            with pytest.raises(LoginRefusedError) as refusal:
                daemon.log_in(target)
            assert refusal.value.status == 0x0203


def test_discovery_shows_an_initiator_its_own_targets_only(herd: Herd) -> None:
    with herd.serve() as daemon:
        assert daemon.discover(f"{PREFIX}.node:pc-003") == [f"{PREFIX}:pc-003"]
        assert daemon.discover("iqn.1994-05.com.redhat:stranger") == []


def test_send_targets_in_a_normal_session_shows_its_own_target(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as session:
        host, port = daemon.portal
        shown = [("TargetName", f"{PREFIX}:pc-001"), ("TargetAddress", f"{host}:{port},1")]
        for asked in ("", "All", f"{PREFIX}:pc-001"):
            assert session.text(f"SendTargets={asked}\0") == shown
        assert session.text(f"SendTargets={PREFIX}:pc-002\0") == []


def test_any_opens_a_node_to_everybody(herd: Herd) -> None:
    herd.do("node", "add", "kiosk", "--image", "lab", "--initiator", "any")
    with herd.serve() as daemon:
        daemon.log_in("kiosk", initiator="iqn.1994-05.com.redhat:stranger").socket.close()
        assert daemon.discover("iqn.1994-05.com.redhat:stranger") == [f"{PREFIX}:kiosk"]
        run_tool("iscsi-inq", daemon.url("kiosk"))


def test_names_are_compared_without_regard_to_case(herd: Herd) -> None:
    with herd.serve() as daemon:
        target, initiator = f"{PREFIX}:PC-001".upper(), f"{PREFIX}.Node:Pc-001"
        with log_in(daemon.portal, "iqn" + target[3:], initiator) as session:
            assert session.make_ready().read(0, 1)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_node_with_chap_asks_for_proof(herd: Herd, secret: Path, algorithm: int) -> None:
    herd.do("node", "add", "pc-010", "--image", "lab", "--chap-user", "u", "--chap-secret-file", secret)
    with herd.serve() as daemon:
        right = Chap("u", SECRET.encode(), algorithm)
        with daemon.log_in("pc-010", chap=right) as session:
            assert session.read(0, 1)
        wrong = (Chap("u", b"not-the-secret--", algorithm), Chap("v", SECRET.encode(), algorithm), None)
        for chap in wrong:
            with pytest.raises(LoginRefusedError) as refusal:
                daemon.log_in("pc-010", chap=chap)
            assert refusal.value.status == 0x0201


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_export_proves_itself_in_turn(
    raw: Path, secret: Path, mutual_secret: Path, tmp_path: Path, algorithm: int
) -> None:
    chap = ("--chap-user", "u", "--chap-secret-file", secret)
    mutual = ("--mutual-user", "goldherd", "--mutual-secret-file", mutual_secret)
    disk = f"{raw},read-only"
    with running(tmp_path / "log", "--data", tmp_path / "data", "export", disk, *chap, *mutual) as daemon:
        proof = Chap("u", SECRET.encode(), algorithm, "goldherd", OTHER.encode())
        with daemon.log_in("export", chap=proof) as session:
            assert session.read(0, 1)


def test_qemu_img_with_user_and_secret_in_the_url(raw: Path, secret: Path, tmp_path: Path) -> None:
    disk, chap = f"{raw},read-only", ("--chap-user", "u", "--chap-secret-file", secret)
    with running(tmp_path / "log", "--data", tmp_path / "data", "export", disk, *chap) as daemon:
        url = daemon.url("export").removeprefix("iscsi://")
        run_tool("qemu-img", "info", "-f", "raw", f"iscsi://u%{SECRET}@{url}")
        run_tool("iscsi-inq", f"iscsi://u%{SECRET}@{url}")
        for who in ("u%not-the-secret--@", "v%" + SECRET + "@", ""):
            with pytest.raises(AssertionError, match=r"(?i)auth|log ?in|denied|fail"):
                run_tool("qemu-img", "info", "-f", "raw", f"iscsi://{who}{url}")
        with pytest.raises(LoginRefusedError) as refusal:
            daemon.discover("iqn.1994-05.com.redhat:stranger")
        assert refusal.value.status == 0x0201, "discovery asks for what the target asks for"


def test_no_log_contains_a_secret(herd: Herd, secret: Path) -> None:
    herd.do("node", "add", "pc-010", "--image", "lab", "--chap-user", "u", "--chap-secret-file", secret)
    with herd.serve() as daemon:
        daemon.log_in("pc-010", chap=Chap("u", SECRET.encode())).socket.close()
        with pytest.raises(LoginRefusedError):
            daemon.log_in("pc-010", chap=Chap("u", b"not-the-secret--"))
        status = herd.do("status", "--json")
        told = [daemon.log, status, herd.do("node", "list", "--json"), (herd.data / "goldherd.log").read_text()]
    for text in told:
        assert SECRET not in text and "not-the-secret--" not in text
        assert SECRET.encode().hex() not in text
