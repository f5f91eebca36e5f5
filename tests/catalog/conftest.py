"""A catalog of its own for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from goldherd.catalog.store import Catalog


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "data") as opened:
        yield opened
