"""Several portals: what discovery tells of them, and that each portal group is a target port of its own."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.process import Process
from tests.support.targets import GOLDHERD, PREFIX
from tests.target.daemon import Herd
from tests.target.initiator import LoginRefusedError, Session, log_in

CANNOT_INCLUDE = 0x0208
TARGET, INITIATOR = f"{PREFIX}:pc-001", f"{PREFIX}.node:pc-001"
Place = tuple[str, int]


@contextmanager
def serving(herd: Herd, *addresses: str, options: tuple[str, ...] = ()) -> Iterator[list[Place]]:
    """A daemon on these addresses; where it really listens, in order."""
    listen = [word for address in addresses for word in ("--listen", address)]
    process = Process([*GOLDHERD, "--data", str(herd.data), "serve", *listen, *options], herd.data.parent / "serve.log")
    try:
        places = []
        for _ in addresses:
            host, _, port = process.read_line("ready ").removeprefix("ready ").rpartition(":")
            places.append((host.strip("[]"), int(port)))
        yield places
    finally:
        process.stop()


def addresses(portal: Place) -> list[str]:
    """The TargetAddress lines that a discovery session gets."""
    with log_in(portal, None, INITIATOR) as session:
        return [value for key, value in session.text("SendTargets=All\0") if key == "TargetAddress"]


def test_discovery_tells_every_portal_with_its_tag(herd: Herd) -> None:
    with serving(herd, "127.0.0.1:0,1", "127.0.0.2:0,2") as (one, two):
        assert addresses(one) == [f"127.0.0.1:{one[1]},1", f"127.0.0.2:{two[1]},2"]
        assert addresses(two) == [f"127.0.0.2:{two[1]},2", f"127.0.0.1:{one[1]},1"]


def test_libiscsi_finds_every_portal(herd: Herd) -> None:
    with serving(herd, "127.0.0.1:0,1", "127.0.0.2:0,7") as (one, two):
        url = f"iscsi://{one[0]}:{one[1]}"
        found = subprocess.run(
            ["iscsi-ls", "--initiator-name", INITIATOR, url], capture_output=True, text=True, timeout=60, check=True
        ).stdout
        assert f"127.0.0.1:{one[1]},1" in found and f"127.0.0.2:{two[1]},7" in found


def test_an_announced_address_stands_for_the_real_one(herd: Herd) -> None:
    with serving(herd, "127.0.0.1:0,1=san.example.org:13260", "127.0.0.2:0,2") as (one, two):
        assert addresses(one) == ["san.example.org:13260,1", f"127.0.0.2:{two[1]},2"]
        with log_in(one, TARGET, INITIATOR) as session:
            assert session.agreed["TargetPortalGroupTag"] == "1"


def test_a_wildcard_is_told_as_the_address_the_client_used(herd: Herd) -> None:
    with serving(herd, "0.0.0.0:0,3") as ((_, port),):
        assert addresses(("127.0.0.1", port)) == [f"127.0.0.1:{port},3"]
        assert addresses(("127.0.0.9", port)) == [f"127.0.0.9:{port},3"]


def test_login_tells_the_portal_group(herd: Herd) -> None:
    with serving(herd, "127.0.0.1:0,1", "127.0.0.2:0,2") as places:
        for tag, place in zip("12", places, strict=True):
            with log_in(place, TARGET, INITIATOR) as session:
                assert session.agreed["TargetPortalGroupTag"] == tag


def test_one_isid_has_a_session_in_each_portal_group(herd: Herd) -> None:
    """RFC 7143 4.2.7.1: the I_T nexus has the portal group in it; Linux uses one ISID at every boot."""
    with (
        serving(herd, "127.0.0.1:0,1", "127.0.0.2:0,2") as (one, two),
        log_in(one, TARGET, INITIATOR) as first,
        log_in(two, TARGET, INITIATOR) as second,
    ):
        both = first.make_ready(), second.make_ready()
        assert both[0].write(8, b"\xa5" * 512).status == 0
        assert both[1].read(8, 1) == b"\xa5" * 512
        assert identification(both[0]) != identification(both[1])


def test_one_isid_in_one_portal_group_is_reinstatement(herd: Herd) -> None:
    with (
        serving(herd, "127.0.0.1:0", "127.0.0.2:0") as (one, two),
        log_in(one, TARGET, INITIATOR) as first,
        log_in(two, TARGET, INITIATOR) as second,
    ):
        assert first.ended()
        second.make_ready().inquire()


def test_a_session_spans_the_portals_of_its_group_only(herd: Herd) -> None:
    listen = ("127.0.0.1:0,1", "127.0.0.2:0,1", "127.0.0.3:0,2")
    many = {"MaxConnections": "4"}
    with (
        serving(herd, *listen, options=("--connections-max", "4")) as (one, same, other),
        log_in(one, TARGET, INITIATOR, keys=many) as first,
        log_in(same, TARGET, INITIATOR, joins=first, cid=1) as second,
    ):
        first.make_ready()
        assert second.read(0, 1) == first.read(0, 1)
        with pytest.raises(LoginRefusedError) as refusal:
            log_in(other, TARGET, INITIATOR, joins=first, cid=2)
        assert refusal.value.status == CANNOT_INCLUDE
        first.inquire()


def test_ipv6_and_ipv4_side_by_side(herd: Herd) -> None:
    with serving(herd, "127.0.0.1:0,1", "[::1]:0,2") as (four, six):
        assert addresses(six) == [f"[::1]:{six[1]},2", f"127.0.0.1:{four[1]},1"]


def identification(session: Session) -> bytes:
    """VPD page 83h."""
    answer = session.command(bytes([0x12, 1, 0x83, 4, 0, 0]), read=1024)
    assert answer.status == 0
    return answer.data


def test_a_wrong_portal_group_is_refused_in_one_sentence(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*GOLDHERD, "--data", tmp_path, "serve", "--listen", "127.0.0.1:0,70000"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "--listen can't be used: '127.0.0.1:0,70000' names portal group 70000; a tag is a number from 1 to 65535."
    ]
