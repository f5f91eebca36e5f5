"""The complete examples, built and installed as a stranger does it, behind the real server."""

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from goldherd import Place, get_include
from goldherd.errors import ImageError
from goldherd.formats import Formats
from goldherd.hooks import BUILTIN, Hooks

from bench.pattern import write_pattern
from tests.interop.conftest import run_tool
from tests.plugins.conftest import Opener
from tests.target.conftest import install
from tests.target.daemon import goldherd, refused, running

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
MIB = 1 << 20
SIZE = 4 * MIB


@pytest.fixture
def sqlite_formats(site: Path, monkeypatch: pytest.MonkeyPatch) -> Formats:
    """Our formats and that of the example, which is installed."""
    install("goldherd_sqlite", (EXAMPLES / "plugin_sqlite" / "goldherd_sqlite.py").read_text(), site)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "goldherd_sqlite", raising=False)
    hooks = Hooks([("vhd", BUILTIN["vhd"]), ("sqlite", "goldherd_sqlite")])
    assert hooks.declined == []
    return hooks.formats


def test_sqlite_disk_is_served_written_and_read_again(sqlite_formats: Formats, tmp_path: Path) -> None:
    disk = tmp_path / "lab.sqlite"
    sqlite_formats.create(f"sqlite:{disk}", SIZE)
    assert sqlite_formats.probe(disk) == "sqlite"
    raw = write_pattern(tmp_path / "pattern.raw", SIZE)
    words = ("--data", tmp_path / "data", "export", f"{disk},wait-seconds=1")
    with running(tmp_path / "log", *words) as daemon:
        run_tool("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", raw, daemon.url("export"))
        run_tool("qemu-img", "convert", "-f", "raw", "-O", "raw", daemon.url("export"), tmp_path / "copy.raw")
        assert "in use" in refused(goldherd("--data", tmp_path / "data", *words[2:]))
    assert (tmp_path / "copy.raw").read_bytes() == raw.read_bytes()
    image = sqlite_formats.open(f"sqlite:{disk}", "r", Opener())
    assert image.read(0, SIZE) == raw.read_bytes()
    image.close()


def test_sqlite_disk_does_what_its_capabilities_say(sqlite_formats: Formats, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'a.sqlite'}"
    sqlite_formats.create(url, SIZE)
    with pytest.raises(ImageError, match="exists already"):
        sqlite_formats.create(url, SIZE)
    image = sqlite_formats.open(url, "rw", Opener())
    image.write(100 * 512, memoryview(b"x" * 200_192))
    image.discard(65536, 65536 + 512)
    image.flush()
    assert image.read(100 * 512, 14336) == b"x" * 14336
    assert image.read(65536, 66048) == bytes(66048)
    assert image.read(65536 + 66048, 512) == b"x" * 512
    assert image.extent_at(65536, MIB) == (65536, True)
    image.close()
    sqlite_formats.snapshot(url, str(tmp_path / "b.sqlite"))
    sqlite_formats.resize(url, MIB)
    sizes = []
    for name in ("a", "b"):
        image = sqlite_formats.open(f"sqlite:{tmp_path / name}.sqlite", "r", Opener())
        sizes.append(image.size_bytes)
        assert image.read(100 * 512, 512) == b"x" * 512
        with pytest.raises(ImageError, match="read-only"):
            image.write(0, memoryview(bytes(512)))
        image.close()
    assert sizes == [MIB, SIZE]
    assert sqlite_formats.check(url) == []


class Parents(Opener):
    """Opens parents through the formats of this test."""

    def __init__(self, formats: Formats) -> None:
        super().__init__()
        self.formats = formats

    def open_parent(self, path, format_name):  # type: ignore[no-untyped-def]
        self.parents[path] = self.formats.open(f"{format_name}:{path}", "r", self)
        return self.parents[path]


@pytest.mark.parametrize("parent", ["vhd", "sqlite"])
def test_sqlite_child_hides_its_parent_only_where_it_was_written(
    sqlite_formats: Formats, tmp_path: Path, parent: str
) -> None:
    golden, child = Place(parent, str(tmp_path / "golden")), f"sqlite:{tmp_path / 'child'}"
    sqlite_formats.create(str(golden), SIZE)
    image = sqlite_formats.open(str(golden), "rw", Opener())
    image.write(0, memoryview(b"g" * SIZE))
    image.close()
    sqlite_formats.create(child, SIZE, golden)
    opener = Parents(sqlite_formats)
    image = sqlite_formats.open(child, "rw", opener)
    image.write(512, memoryview(b"c" * 512))
    image.discard(MIB, MIB)
    assert image.read(0, 1536) == b"g" * 512 + b"c" * 512 + b"g" * 512
    assert image.read(MIB - 512, MIB + 1024) == b"g" * 512 + bytes(MIB) + b"g" * 512
    image.close()
    opener.close()


def test_what_is_no_sqlite_disk_is_refused(sqlite_formats: Formats, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database")
    sqlite3.connect(tmp_path / "other").execute("CREATE TABLE t (x)").close()
    for name in ("text", "other", "missing"):
        with pytest.raises(ImageError, match="holds no disk"):
            sqlite_formats.open(f"sqlite:{tmp_path / name}", "r", Opener())


@pytest.fixture(scope="session")
def stripe_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled example, built by its own setup.py."""
    folder = Path(shutil.copytree(EXAMPLES / "plugin_stripe", tmp_path_factory.mktemp("example") / "plugin_stripe"))
    environment = {**os.environ, "PYTHONPATH": get_include()}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    (module,) = folder.glob("goldherd_stripe*.so")
    return module


@pytest.mark.parametrize("reactors", [0, 1])
def test_compiled_example_is_built_served_written_and_read(
    stripe_module: Path, site: Path, tmp_path: Path, reactors: int
) -> None:
    install("goldherd_stripe", "", site)
    (site / "goldherd_stripe.py").unlink()
    shutil.copy(stripe_module, site)
    raw = write_pattern(tmp_path / "pattern.raw", SIZE)
    files = [tmp_path / f"{number}.raw" for number in range(3)]
    for file in files:
        with file.open("wb") as empty:
            empty.truncate(2 * MIB)
    location = "+".join(map(str, files))
    words = ("--data", tmp_path / "data", "export", f"stripe:{location},stripe-bytes=4096", "--reactors", reactors)
    with running(tmp_path / "log", *words) as daemon:
        run_tool("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", raw, daemon.url("export"))
        with daemon.log_in("export") as session:
            assert session.flush().status == 0
            assert session.read(0, 64) == raw.read_bytes()[:32768]
            assert session.write(7, b"w" * 1024).status == 0
            answer = session.command(struct.pack(">BBIBHB", 0x28, 0, 12289, 0, 1, 0), read=512)
            assert answer.key == (5, 0x21, 0), "LOGICAL BLOCK ADDRESS OUT OF RANGE"
    content = raw.read_bytes()
    assert files[1].read_bytes()[4096:8192] == content[4 * 4096 : 5 * 4096]
    assert files[0].read_bytes()[3584:4096] == files[1].read_bytes()[:512] == b"w" * 512


def test_compiled_example_says_what_is_wrong(stripe_module: Path, site: Path, tmp_path: Path) -> None:
    install("goldherd_stripe", "", site)
    (site / "goldherd_stripe.py").unlink()
    shutil.copy(stripe_module, site)
    export = ("--data", tmp_path / "data", "export")
    assert "join 2 to 16 with +" in refused(goldherd(*export, "stripe:one.raw"))
    assert "whole sectors" in refused(goldherd(*export, "stripe:a+b,stripe-bytes=1000"))
    assert "No such file" in refused(goldherd(*export, f"stripe:{tmp_path / 'a'}+{tmp_path / 'b'}"))
