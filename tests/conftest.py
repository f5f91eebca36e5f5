"""How a run is shared by several processes, where pytest-xdist is there and is asked to (tests/support/parallel.py)."""

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer

    from tests.support.parallel import Scheduling


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "Scheduling":
    """Files, and some folders, stay together."""
    from tests.support.parallel import Scheduling

    return Scheduling(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """A pytest that a test starts is a run of its own, and measures as such."""
    if hasattr(config, "workerinput"):
        for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
            del os.environ[name]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several processes the longest tests begin."""
    if hasattr(config, "workerinput"):
        from tests.support.parallel import put_long_ones_first

        put_long_ones_first(items)
