"""The folders of a data folder, and what the system refuses there."""

from pathlib import Path

import pytest
from goldherd.errors import PluginError, StorageFullError
from goldherd.volumes.store import explained


def test_full_disk_below_a_plugin_is_a_full_disk(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageFullError, match="the file system is full"),
        explained(tmp_path, "make the disk"),
    ):
        raise PluginError("The plugin x failed.") from OSError(28, "No space left on device")


def test_failure_of_a_plugin_without_a_system_error_passes(tmp_path: Path) -> None:
    with pytest.raises(PluginError), explained(tmp_path, "make the disk"):
        raise PluginError("The plugin x failed.")
