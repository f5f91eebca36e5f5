"""Two diskless machines boot from one golden VHD: iPXE, then Linux that takes over from the iBFT."""

import pytest

from tests.boot.conftest import NODES, Story

pytestmark = [pytest.mark.boot, pytest.mark.timeout(1200)]


def identity(said: list[str]) -> str:
    """What a guest told of its identity: "new NODE UUID" or "found NODE UUID"."""
    [line] = [line for line in said if line.startswith("identity ")]
    return line.removeprefix("identity ")


def test_ibft_carries_each_nodes_own_names(story: Story) -> None:
    for node in NODES:
        assert story.first[node][0].split()[1:] == [
            f"iqn.2026-11.io.goldherd.node:{node}",
            f"iqn.2026-11.io.goldherd:{node}",
        ]


def test_first_boot_finds_the_golden_data_and_no_identity(story: Story) -> None:
    for node in NODES:
        assert "golden data good" in story.first[node]
        assert identity(story.first[node]).startswith(f"new {node} ")


def test_second_boot_finds_what_the_first_wrote(story: Story) -> None:
    for node in NODES:
        assert identity(story.second[node]) == identity(story.first[node]).replace("new", "found")
        assert "own data good" in story.second[node]
        assert "golden data good" in story.second[node]


def test_nodes_never_see_each_other(story: Story) -> None:
    for node in NODES:
        assert f"boots {node}" in story.first[node]
        assert f"boots {node} {node}" in story.second[node]


def test_golden_files_stay_as_they_were(story: Story) -> None:
    assert story.sealed_after == story.sealed_before


def test_daemon_stops_in_good_order_after_the_boots(story: Story) -> None:
    assert story.exit_statuses == [0, 0]
