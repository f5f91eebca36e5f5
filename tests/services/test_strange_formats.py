"""A format that goldherd has never heard of: sealed, the parent of nodes' disks, and those disks themselves."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from goldherd.block.golden import GoldenCache
from goldherd.errors import ImageError
from goldherd.hooks import Hooks
from goldherd.model.images import ImageRef
from goldherd.model.nodes import NodeSpec
from goldherd.services import nodes
from goldherd.services.context import Services
from goldherd.services.directory import CatalogDirectory
from goldherd.services.importing import import_image
from goldherd.target.disks import Disks

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
PREFIX = "iqn.2026-11.io.test"
SIZE = 1 << 20


def quiet(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Hooks:
    """goldherd's plugins and two of the examples."""
    for name in ("sqlite", "zip"):
        monkeypatch.syspath_prepend(str(EXAMPLES / f"plugin_{name}"))
        monkeypatch.delitem(sys.modules, f"goldherd_{name}", raising=False)
    hooks = Hooks()
    for name in ("sqlite", "zip"):
        assert hooks.register(__import__(f"goldherd_{name}"), name), hooks.declined
    return hooks


@pytest.fixture
def services(tmp_path: Path, hooks: Hooks) -> Iterator[Services]:
    with Services(tmp_path / "data", lambda: hooks.formats, PREFIX) as opened:
        yield opened


@pytest.fixture
def golden(hooks: Hooks, tmp_path: Path) -> Path:
    """A SQLite disk full of g."""
    path = tmp_path / "golden.sqlite"
    hooks.formats.create(f"sqlite:{path}", SIZE)
    image = hooks.formats.open(f"sqlite:{path}", "rw", None)  # type: ignore[arg-type]
    image.write(0, memoryview(b"g" * SIZE))
    image.close()
    return path


def test_strange_disk_is_sealed_and_its_nodes_disks_are_its_children(
    services: Services, hooks: Hooks, golden: Path
) -> None:
    version = import_image(services, golden, "lab", progress=quiet)
    assert (version.format, version.path.name) == ("sqlite", "lab@1.sqlite")
    nodes.add(services, ["pc-1"], NodeSpec(image=ImageRef("lab", None)))
    overlay = services.data / "overlays" / "pc-1.lab@1.sqlite"
    assert overlay.exists()
    directory = CatalogDirectory(services)
    disks = Disks(hooks, GoldenCache(1 << 20), directory)
    target = asyncio.run(directory.find(f"{PREFIX}:pc-1"))
    assert target is not None
    image = disks.open(target.luns[0])
    image.write(512, memoryview(b"n" * 512))
    assert image.read(0, 1536) == b"g" * 512 + b"n" * 512 + b"g" * 512
    image.close()
    disks.close()
    directory.close()
    before = version.path.read_bytes()
    nodes.reset(services, ["pc-1"])
    nodes.remove(services, ["pc-1"])
    assert not overlay.exists()
    assert version.path.read_bytes() == before


def test_raw_disk_is_sealed_in_goldherds_own_format_beside_strange_ones(services: Services, tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(b"r" * SIZE)
    assert import_image(services, raw, "lab", progress=quiet).path.name == "lab@1.vhd"


def test_format_that_lacks_what_a_golden_image_needs_says_so(services: Services, tmp_path: Path) -> None:
    archive = tmp_path / "disk.zip"
    archive.write_bytes(b"")
    with pytest.raises(ImageError, match=r"images of the format zip are no files .* convert it"):
        import_image(services, archive, "lab", format_name="zip", progress=quiet)
