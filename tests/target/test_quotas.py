"""A disk that takes as much space as it may: writes that need more wait, and a higher quota lets them go on."""

import json
from pathlib import Path

from tests.target.daemon import Daemon, Herd, refused
from tests.target.initiator import Session
from tests.target.test_full_disks import APART, DATA, GOOD, Load, full_disks, wait_for

QUOTA_BYTES = 512 << 10


def quotas(herd: Herd) -> list[dict[str, object]]:
    found: list[dict[str, object]] = herd.status()["daemon"]["quotas"]
    return found


def use_up(herd: Herd, session: Session) -> None:
    """Writes as much as the node may, and waits until that was noticed."""
    for number in range(QUOTA_BYTES // len(DATA)):
        assert session.write(APART * number, DATA).key == GOOD
    assert session.flush().key == GOOD
    wait_for(lambda: any(each["hard"] for each in quotas(herd)))


def serve_full(herd: Herd, daemon: Daemon) -> None:
    with daemon.log_in("pc-001") as mine, daemon.log_in("pc-002") as other:
        use_up(herd, mine)
        assert mine.write(0, DATA).key == mine.flush().key == GOOD, "what has its space can be written"
        load = Load(mine)
        load.write(APART * 20, DATA)
        load.write(len(DATA) // 512, DATA)  # in a block of the VHD that is there, but not of the node's own sectors
        load.until(lambda: len(load.asked) == 2 and min(load.asked.values()) > 1)
        assert [full["node"] for full in full_disks(herd)] == ["pc-001"]
        for number in range(8):
            assert other.write(APART * number, DATA).key == GOOD
        assert "its hard quota is used up" in herd.do("status")
        assert load.keys == []
        herd.do("node", "set", "pc-001", "--quota-hard", "64M")
        load.finish()
        assert load.keys == [GOOD, GOOD]
        wait_for(lambda: not quotas(herd) and not full_disks(herd))
        assert mine.read(APART * 20, len(DATA) // 512) == DATA
        assert daemon.log.count("a node has used up its quota") == 1
        assert daemon.log.count("a node may take more space again") == 1


def test_node_that_has_used_up_its_quota_waits_until_it_is_raised(herd: Herd) -> None:
    herd.do("node", "set", "pc-001", "--quota-hard", f"{QUOTA_BYTES >> 10}K")
    with herd.serve() as daemon:
        serve_full(herd, daemon)


def test_quota_holds_under_a_filter(herd: Herd, raw: Path) -> None:
    herd.do("image", "import", raw, "--name", "slow", "--filter", "delay:ms=1")
    herd.do("node", "set", "pc-001", "--image", "slow", "--quota-hard", f"{QUOTA_BYTES >> 10}K")
    with herd.serve() as daemon:
        serve_full(herd, daemon)


def test_soft_quota_warns_only(herd: Herd) -> None:
    herd.do("node", "set", "pc-[001-002]", "--quota-soft", "256K")
    with herd.serve() as daemon, daemon.log_in("pc-001") as mine, daemon.log_in("pc-002"):
        for number in range(8):
            assert mine.write(APART * number, DATA).key == mine.flush().key == GOOD
        wait_for(lambda: quotas(herd))
        (used,) = quotas(herd)
        assert (used["node"], used["hard"], used["quota_soft"], used["quota_hard"]) == (
            "pc-001",
            False,
            256 << 10,
            None,
        )
        assert mine.write(APART * 20, DATA).key == GOOD
        assert "its soft quota is used up" in herd.do("status")


def test_quotas_are_shown_and_taken_away(herd: Herd) -> None:
    herd.do("node", "set", "pc-001", "--quota-soft", "1G", "--quota-hard", "1.5G")
    shown = json.loads(herd.do("node", "show", "pc-001", "--json"))
    assert (shown["quota_soft"], shown["quota_hard"]) == (1 << 30, 3 << 29)
    assert 0 < shown["used_bytes"] < 1 << 20
    assert "1.0 GiB soft and 1.5 GiB hard quota" in herd.do("node", "show", "pc-001")
    assert json.loads(herd.do("node", "set", "pc-001", "--quota-soft", "1G", "--json"))["changed"] == []
    herd.do("node", "set", "pc-001", "--quota-soft", "none")
    shown = json.loads(herd.do("node", "show", "pc-001", "--json"))
    assert (shown["quota_soft"], shown["quota_hard"]) == (None, 3 << 29)
    assert "'lots' is not a size" in refused(herd.run("node", "set", "pc-001", "--quota-hard", "lots"))
