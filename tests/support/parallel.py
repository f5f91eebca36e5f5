"""Which tests of a run with several processes stay together, and which of them begin (pytest-xdist, `scripts/test`).

A file is run by one process from its begin to its end, so that what its fixtures made is made once. Folders whose tests
share something dear, as one boot or one build, stay together as a whole. What takes longest begins, so that no process
works alone at the end.
"""

from collections.abc import Sequence
from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

TOGETHER: Final = ("boot", "guest", "packaging")
"""Folders below tests/ with a dear fixture of the whole session."""
FIRST: Final = ("conformance", "fuzz", "guest", "boot", "packaging", "faults", "bench", "cli", "target")
"""Folders below tests/ that take longest, in the order in which they begin."""


def folder_of(place: str) -> str:
    """The folder below tests/ of a node id or path; empty for a file of tests/ itself."""
    parts = place.partition("::")[0].split("/")
    return parts[1] if len(parts) > 2 else ""


def unit_of(place: str) -> str:
    """What a test stays together with: its folder or its file, by name."""
    folder = folder_of(place)
    return folder if folder in TOGETHER else place.partition("::")[0]


class Scheduling(LoadFileScheduling):  # type: ignore[misc]
    """Gives files to the processes, and whole folders where these are TOGETHER."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # the order of the collection stays

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def put_long_ones_first(items: list[pytest.Item]) -> None:
    """Orders the tests of a run by FIRST; each process does the same."""
    items.sort(key=lambda item: _rank(folder_of(item.nodeid), FIRST))


def _rank(folder: str, order: Sequence[str]) -> int:
    return order.index(folder) if folder in order else len(order)
