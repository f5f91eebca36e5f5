"""Somebody else's target to measure the runner against."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conformance import goldherd_set
from tests.conformance.capture import Judge, WholeRun
from tests.conformance.run import Around
from tests.support.targets import TgtExport


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> WholeRun:
    """All 230 tests over all five units, each family under Wireshark's eyes."""
    found, folder = WholeRun(), tmp_path_factory.mktemp("conformance")
    judges: list[Judge] = []

    def watched(ports: Sequence[int]) -> Around:
        judges.append(Judge(ports, folder, beside))
        return judges[0].around

    printed = io.StringIO()
    with ThreadPoolExecutor(1) as beside, contextlib.redirect_stdout(printed):
        found.code = goldherd_set.main([], folder, watched)
    judges[0].add_to(found)
    found.table = printed.getvalue()
    return found


@pytest.fixture(scope="session")
def tgtd_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a 64 MiB unit that tgtd serves; needs root, as tgtd does."""
    folder = tmp_path_factory.mktemp("tgtd")
    disk = folder / "disk"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    with TgtExport([disk], folder) as export:
        yield export.url()
