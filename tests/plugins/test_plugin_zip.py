"""The example of a third-party backend works through the same door as ours."""

import importlib.util
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from goldherd.block.image import Image
from goldherd.errors import ImageError
from goldherd.hooks import Hooks

from tests.plugins.conftest import Opener

FOLDER = Path(__file__).parent.parent.parent / "examples" / "plugin_zip"


@pytest.fixture
def plugin() -> ModuleType:
    """The module that the example's entry point names."""
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())
    name = project["project"]["entry-points"]["goldherd"]["zip"]
    assert [name] == project["tool"]["setuptools"]["py-modules"]
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def open_zip(plugin: ModuleType, path: Path) -> Image:
    hooks = Hooks([])
    assert hooks.register(plugin, "zip"), hooks.declined
    return hooks.formats.open(f"zip:{path}", "r", Opener())


def test_a_disk_in_a_zip_file_is_read(tmp_path: Path, plugin: ModuleType) -> None:
    data = bytes(range(256)) * 64
    with zipfile.ZipFile(tmp_path / "disk.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("disk.img", data)
    image = open_zip(plugin, tmp_path / "disk.zip")
    assert (image.size_bytes, image.read_only) == (len(data), True)
    assert image.read(512, 1024) == data[512:1536]
    with pytest.raises(ImageError, match="can't write"):
        image.write(0, memoryview(bytes(512)))
    image.close()


def test_other_urls_are_left_to_others(tmp_path: Path, plugin: ModuleType) -> None:
    assert plugin.open_image("raw:disk.img") is None


@pytest.mark.parametrize("content", [None, b"no archive", "empty"])
def test_what_holds_no_disk_is_refused(tmp_path: Path, plugin: ModuleType, content: bytes | str | None) -> None:
    path = tmp_path / "disk.zip"
    if content == "empty":
        zipfile.ZipFile(path, "w").close()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(ImageError, match="holds no disk"):
        open_zip(plugin, path)


def test_a_disk_of_no_whole_sectors_is_refused(tmp_path: Path, plugin: ModuleType) -> None:
    with zipfile.ZipFile(tmp_path / "disk.zip", "w") as archive:
        archive.writestr("disk.img", b"x")
    with pytest.raises(ImageError, match="multiple of 512"):
        open_zip(plugin, tmp_path / "disk.zip")
