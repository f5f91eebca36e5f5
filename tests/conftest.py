"""What is made once for many tests is made once: they stay on one worker when several run side by side."""

import pytest

TOGETHER = {"boot", "conformance", "guest"}
"""Folders whose tests share minutes of preparation: a guest that boots, a run of a whole suite."""


@pytest.hookimpl(tryfirst=True)  # before xdist looks for them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups for xdist's --dist loadgroup."""
    for item in items:
        folder = item.path.parent.name
        if folder in TOGETHER:
            item.add_marker(pytest.mark.xdist_group(folder))
