"""The space of file systems is watched: status, the log and thin initiators hear when it runs short."""

import struct
from collections.abc import Iterator

import pytest

from tests.target.daemon import Herd
from tests.target.small_volumes import Volume, small_volume
from tests.target.test_full_disks import wait_for

THRESHOLD_REACHED = (0x6, 0x38, 0x07)
READY = bytes(6)
LOG_SENSE = struct.pack(">BBBBBHHB", 0x4D, 0, 0x4C, 0, 0, 0, 255, 0)


@pytest.fixture
def volume(herd: Herd) -> Iterator[Volume]:
    with small_volume(herd, "tmpfs") as volume:
        yield volume


def thresholds(herd: Herd) -> dict[str, str]:
    """Path to threshold of the file systems that status names."""
    return {each["path"]: each["threshold"] for each in herd.status()["daemon"]["volumes"]}


def test_file_systems_of_images_and_open_disks_are_named(herd: Herd) -> None:
    with herd.serve() as daemon:
        wait_for(lambda: thresholds(herd))
        (volume,) = herd.status()["daemon"]["volumes"]  # images/ and overlays/ lie on one
        assert volume["path"] == str(herd.data / "images")
        assert 0 < volume["free_bytes"] <= volume["total_bytes"]
        assert daemon.stop() == 0


def test_people_and_thin_initiators_hear_that_space_runs_short(
    herd: Herd, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLDHERD_SPACE_SOFT", "48M")
    monkeypatch.setenv("GOLDHERD_SPACE_HARD", "2M")
    with herd.serve() as daemon, daemon.log_in("pc-001") as mine, daemon.log_in("pc-002") as other:
        wait_for(lambda: "ok" in thresholds(herd).values() and len(thresholds(herd)) == 2)
        counted = mine.command(LOG_SENSE, read=255).data
        assert int.from_bytes(counted[8:12]) in (62, 63) and counted[:3] == b"\x0c\0\0"
        assert mine.command(READY).status == 0
        volume.ballast.write_bytes(bytes(24 << 20))
        wait_for(lambda: "soft" in thresholds(herd).values())
        assert mine.command(READY).key == THRESHOLD_REACHED
        assert mine.command(READY).status == other.command(READY).status == 0
        assert "runs out of space" in herd.do("status")
        volume.fill()
        wait_for(lambda: "hard" in thresholds(herd).values())
        assert mine.command(READY).status == 0, "the threshold is reached once"
        volume.ballast.unlink()
        wait_for(lambda: set(thresholds(herd).values()) == {"ok"})
        assert "runs out of space" not in herd.do("status")
        assert daemon.log.count("a file system of disks runs out of space") == 2
        assert daemon.log.count("a file system of disks has space again") == 1
