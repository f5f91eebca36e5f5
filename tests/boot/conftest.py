"""The story of two nodes, told once per run: both boot, the daemon is restarted, both boot again."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.boot.golden import fetch_golden
from tests.boot.kernel import fetch_kernel
from tests.boot.machine import accelerator, boot, ipxe_script
from tests.support.targets import GoldherdHerd, Herd, TgtHerd

NODES = ("pc-1", "pc-2")


@dataclass(frozen=True)
class Story:
    """What happened, for the tests to judge."""

    first: dict[str, list[str]]
    """Node to what its system said at its first boot."""
    second: dict[str, list[str]]
    sealed_before: dict[Path, str]
    """Every golden file, ours and the user's, to its SHA-256."""
    sealed_after: dict[Path, str]
    exit_statuses: list[int]
    """Of the daemon, each time it was stopped."""


def make_herd(folder: Path) -> Herd:
    """The target that GOLDHERD_TEST_TARGET names, with the golden disk in the form it wants."""
    golden = fetch_golden()
    makers: dict[str, Callable[[], Herd]] = {
        "goldherd": lambda: GoldherdHerd(golden.vhd, "pc-[1-2]", folder),
        "tgt": lambda: TgtHerd(golden.raw, NODES, folder),
    }
    return makers[os.environ.get("GOLDHERD_TEST_TARGET", "goldherd")]()


def sealed_files(folder: Path) -> dict[Path, str]:
    """The hash of the user's golden files and of every file below `folder` that nobody may write."""
    golden = fetch_golden()
    below = [path for path in folder.rglob("*") if path.is_file() and not path.stat().st_mode & 0o222]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (golden.raw, golden.vhd, *below)}


def boot_all(herd: Herd, folder: Path, nodes: Sequence[str]) -> dict[str, list[str]]:
    """Boots the nodes at the same time."""
    accel = accelerator(fetch_kernel())

    def boot_one(index: int) -> list[str]:
        node = nodes[index]
        script = ipxe_script(herd.portal.port, herd.iqn(node), herd.initiator(node), herd.lun)
        return boot(folder / node, accel, script, mac=f"52:54:00:00:00:{index + 1:02x}")

    with ThreadPoolExecutor(len(nodes)) as pool:
        return dict(zip(nodes, pool.map(boot_one, range(len(nodes))), strict=True))


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Two nodes, two boots each, with the daemon stopped and started in between."""
    folder = tmp_path_factory.mktemp("herd")
    statuses = []
    with make_herd(folder) as herd:
        before = sealed_files(folder)
        herd.serve()
        first = boot_all(herd, folder / "first", NODES)
        statuses.append(herd.stop())
        herd.serve()
        second = boot_all(herd, folder / "second", NODES)
        statuses.append(herd.stop())
    return Story(first, second, before, sealed_files(folder), statuses)
