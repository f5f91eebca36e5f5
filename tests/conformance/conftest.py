"""Somebody else's target to measure the runner against."""

from collections.abc import Iterator

import pytest

from tests.support.targets import TgtExport


@pytest.fixture(scope="session")
def tgtd_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a 64 MiB unit that tgtd serves; needs root, as tgtd does."""
    folder = tmp_path_factory.mktemp("tgtd")
    disk = folder / "disk"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    with TgtExport([disk], folder) as export:
        yield export.url()
