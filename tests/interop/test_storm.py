"""256 nodes over one golden disk read all of it at the same time."""

from pathlib import Path

import pytest

from bench.build import build

pytestmark = pytest.mark.interop


def test_every_byte_is_right_and_the_golden_disk_is_held_once(tmp_path: Path) -> None:
    build()
    from bench.storm import storm

    assert storm(tmp_path, nodes=256, golden_bytes=16 << 20).complaints == []
