"""What users see who do not own the data folder: members of its group, others who may read it, and strangers."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.targets import GOLDHERD
from tests.support.users import run_as
from tests.target.daemon import Herd, refused

OWNER: Final = 12345
GROUP: Final = 12346
READER: Final = 12347
"""Users and groups that nothing else has."""

READING: Final = [
    ("status",),
    ("status", "--json"),
    ("node", "list"),
    ("node", "show", "pc-1"),
    ("image", "list"),
    ("image", "show", "lab"),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of another user and group, as deploy/goldherd.service makes it, with lab@1 and pc-1."""
    folder = tmp_path_factory.mktemp("owned")
    golden = folder / "golden.raw"
    golden.write_bytes(bytes(1 << 20))
    herd = Herd(folder / "data")
    herd.data.mkdir(mode=0o750)
    os.chown(herd.data, OWNER, GROUP)
    herd.do("image", "import", golden, "--name", "lab")
    herd.do("node", "add", "pc-1", "--image", "lab")
    return herd.data


@pytest.fixture
def herd(template: Path) -> Iterator[Herd]:
    """A copy of it, below a folder that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="goldherd-") as name:
        Path(name).chmod(0o755)
        subprocess.run(["cp", "-a", template, name], check=True)
        yield Herd(Path(name) / "data")


def ask(herd: Herd, words: tuple[str, ...], *, group: int = READER) -> subprocess.CompletedProcess[str]:
    """A command as another user, a member of one group."""
    return run_as(READER, group, *GOLDHERD, "--data", herd.data, *words)


def listing(folder: Path) -> set[tuple[str, int]]:
    """Every file of a folder with the time of its last change."""
    return {(str(path), path.stat().st_mtime_ns) for path in folder.rglob("*") if not path.name.endswith("-shm")}


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_member_of_the_group_reads_without_a_daemon(herd: Herd, words: tuple[str, ...]) -> None:
    before = listing(herd.data)
    ended = ask(herd, words, group=GROUP)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "lab" in ended.stdout or "1 node" in ended.stdout or '"nodes": 1' in ended.stdout
    assert listing(herd.data) == before


def test_member_of_the_group_sees_what_the_daemon_does(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-1"):
        for words in READING:
            assert ask(herd, words, group=GROUP).returncode == 0
        shown = json.loads(ask(herd, ("status", "--json"), group=GROUP).stdout)
        assert [session["node"] for session in shown["daemon"]["sessions"]] == ["pc-1"]
        assert shown["withheld"] is None
        # What the daemon and others have written a moment ago is seen as well.
        herd.do("node", "add", "pc-2", "--image", "lab")
        assert "pc-2" in ask(herd, ("node", "list"), group=GROUP).stdout


def test_reader_outside_the_group_sees_the_catalog_and_that_a_daemon_runs(herd: Herd) -> None:
    herd.data.chmod(0o755)
    with herd.serve():
        shown = json.loads(ask(herd, ("status", "--json")).stdout)
        assert (shown["running"], shown["daemon"], shown["catalog"]["nodes"]) == (True, None, 1)
        assert shown["withheld"].endswith(".")
        assert ask(herd, ("status",)).stdout.startswith("A daemon is running. ")
        assert "pc-1" in ask(herd, ("node", "list")).stdout


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_stranger_is_told_in_one_sentence(herd: Herd, words: tuple[str, ...]) -> None:
    ended = ask(herd, words)
    assert ended.returncode == 1 and ended.stderr.count("\n") == 1
    assert f"The data folder {herd.data} may not be read" in ended.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("node", "add", "pc-2", "--image", "lab"),
        ("node", "set", "pc-1", "--policy", "reset"),
        ("node", "reset", "pc-1", "--yes"),
        ("image", "remove", "lab@1", "--yes"),
        ("image", "retire", "lab@1"),
        ("image", "import", "/dev/null", "--name", "x", "--format", "raw"),
        ("serve", "--listen", "127.0.0.1:0"),
    ],
    ids=" ".join,
)
def test_member_of_the_group_changes_nothing(herd: Herd, words: tuple[str, ...]) -> None:
    before = listing(herd.data)
    refused(ask(herd, words, group=GROUP))
    assert listing(herd.data) == before


def test_catalog_of_an_older_goldherd_is_left_to_its_owner(herd: Herd) -> None:
    import sqlite3

    with sqlite3.connect(herd.data / "catalog.sqlite") as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    assert "may not bring it up to date" in refused(ask(herd, ("node", "list"), group=GROUP))
