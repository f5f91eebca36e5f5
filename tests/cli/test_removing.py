"""Removing data: asked for on a terminal, --yes without one, --dry-run removes nothing; and errors as JSON."""

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

REMOVALS: Final = [
    ("image", "remove", "lab@1"),
    ("image", "remove", "spare", "--all-versions"),
    ("node", "remove", "pc-1"),
    ("node", "reset", "pc-1"),
]


@pytest.fixture
def herd(run: Any, lab: None, golden: Path) -> None:
    """lab@1, which pc-1 does not use, and lab@2, which it does; and spare@1, which is not used at all."""
    run("image", "import", golden, "--name", "spare")
    run("image", "import", golden, "--name", "lab")
    run("image", "activate", "lab@2")
    assert run("node", "add", "pc-1", "--image", "lab@2").code == 0


@pytest.mark.parametrize("command", REMOVALS, ids=" ".join)
def test_removal_without_a_terminal_needs_yes(run: Any, herd: None, command: tuple[str, ...]) -> None:
    before = run("image", "list", "--json").json, run("node", "list", "--json").json
    ended = run(*command)
    assert ended.code == 2 and "--yes" in ended.err
    assert before == (run("image", "list", "--json").json, run("node", "list", "--json").json)


@pytest.mark.parametrize("command", REMOVALS, ids=" ".join)
def test_dry_run_names_what_would_go_and_removes_nothing(run: Any, herd: None, command: tuple[str, ...]) -> None:
    before = run("image", "list", "--json").json, run("node", "list", "--json").json
    ended = run(*command, "--dry-run")
    assert ended.code == 0 and any(name in ended.out for name in ("lab@1", "spare@1", "pc-1"))
    assert run(*command, "--dry-run", "--json").json["dry_run"] is True
    assert before == (run("image", "list", "--json").json, run("node", "list", "--json").json)


def test_dry_run_refuses_what_the_removal_would_refuse(run: Any, herd: None) -> None:
    for options in (["--dry-run"], ["--yes"], []):
        ended = run("image", "remove", "lab", "--all-versions", *options)
        assert ended.code == 1 and "it is the disk of pc-1" in ended.err


def test_image_without_a_version_is_removed_only_on_request(run: Any, lab: None) -> None:
    ended = run("image", "remove", "lab", "--yes")
    assert ended.code == 2 and "--all-versions" in ended.err
    assert run("image", "remove", "lab@1", "--all-versions", "--yes").code == 2
    assert run("image", "remove", "lab", "--all-versions", "--yes", "--json").json["removed"] == ["lab@1"]


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 1, 3), (b"y\n", 0, 2)])
def test_removal_asks_on_a_terminal(run: Any, herd: None, data: Path, answer: bytes, code: int, left: int) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "goldherd.cli.main", "--data", str(data), "image", "remove", "lab@1"]
    with subprocess.Popen(command, stdin=slave, stdout=subprocess.PIPE, stderr=slave) as process:
        os.close(slave)
        os.write(master, answer)
        process.communicate()
    os.close(master)
    assert process.returncode == code
    assert len(run("image", "list", "--json").json) == left


@pytest.mark.parametrize(
    ("command", "code", "kind"),
    [
        (("node", "show", "pc-9"), 1, "not-found"),
        (("image", "remove", "lab@9", "--yes"), 1, "not-found"),
        (("image", "activate", "lab@9"), 1, "not-found"),
        (("image", "retire", "lab@9"), 1, "not-found"),
        (("node", "reset", "pc-9", "--yes"), 1, "not-found"),
        (("image", "import", "/nonexistent", "--name", "x"), 1, "refused"),
        (("node", "list", "--nonsense"), 2, "usage"),
    ],
)
def test_error_is_one_json_document(run: Any, lab: None, command: tuple[str, ...], code: int, kind: str) -> None:
    ended = run(*command, "--json")
    assert ended.code == code
    assert list(ended.json) == ["error"] and list(ended.json["error"]) == ["kind", "about", "reason", "hint"]
    assert ended.json["error"]["kind"] == kind
    assert ended.json["error"]["reason"] in " ".join(ended.err.split())


def test_changes_tell_of_themselves_in_json(run: Any, herd: None) -> None:
    assert run("image", "activate", "lab@1", "--json").json == {"name": "lab@1", "changed": True}
    assert run("image", "retire", "lab@1", "--json").json == {"name": "lab@1", "changed": True}
    assert run("node", "reset", "pc-1", "--yes", "--json").json["reset"] == ["pc-1"]
    assert run("node", "remove", "pc-1", "--yes", "--json").json["removed"] == ["pc-1"]


def test_mac_addresses_are_cleared(run: Any, lab: None) -> None:
    run("node", "add", "pc-1", "--image", "lab", "--mac", "52:54:00:00:00:01")
    assert run("node", "set", "pc-1", "--no-mac", "--mac", "52:54:00:00:00:02").code == 2
    assert run("node", "set", "pc-1", "--no-mac").code == 0
    assert run("node", "show", "pc-1", "--json").json["macs"] == []


@pytest.mark.parametrize("command", [("node", "list"), ("image", "list"), ("status",), ("node", "reset", "x", "--yes")])
def test_data_folder_that_is_not_there_is_refused_and_not_made(run: Any, data: Path, command: tuple[str, ...]) -> None:
    data.with_name("dta").mkdir()
    ended = run(*command)
    assert ended.code == 1 and f"There is no data folder {data} (there is {data.with_name('dta')})" in ended.err
    assert not data.exists()


def test_status_needs_no_permission_to_write(run: Any, lab: None, data: Path) -> None:
    data.chmod(0o555)
    ended = subprocess.run(
        [sys.executable, "-m", "goldherd.cli.main", "--data", str(data), "status", "--json"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: data.stat().st_uid or os.setegid(65534),
    )
    assert ended.returncode == 0 and '"versions": 1' in ended.stdout


def test_narrow_terminal_does_without_columns_but_cuts_no_name(run: Any, lab: None, data: Path) -> None:
    name = "machine-with-a-long-name-01"
    run("node", "add", name, "--image", "lab", "--mac", "52:54:00:00:00:01")
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80"}
    command = [sys.executable, "-m", "goldherd.cli.main", "--data", str(data), "node", "list"]
    subprocess.run(command, stdout=slave, env=environment, check=True)
    os.close(slave)
    shown = os.read(master, 65536).decode().splitlines()
    os.close(master)
    assert all(len(line) <= 80 for line in shown)
    assert any(line.startswith(name) and "lab@1" in line and "52:54:00:00:00:01" in line for line in shown)


def test_hint_says_what_to_type_next(run: Any, lab: None) -> None:
    ended = run("node", "show", "pc-9", "--json")
    assert ended.json["error"]["about"] == [{"type": "node", "name": "pc-9"}]
    assert "'goldherd node list'" in ended.err


def test_lost_catalog_is_made_anew(run: Any, herd: None, data: Path) -> None:
    (data / "catalog.sqlite").unlink()
    assert run("doctor").code == 2
    assert run("doctor", "--rebuild-catalog").code == 2
    found = run("doctor", "--rebuild-catalog", "--dry-run", "--json").json
    assert (found["versions"], found["nodes"], found["dry_run"]) == (["lab@1", "lab@2", "spare@1"], ["pc-1"], True)
    assert run("doctor", "--rebuild-catalog", "--yes").code == 0
    assert [node["name"] for node in run("node", "list", "--json").json] == ["pc-1"]
