"""`goldherd image`: what is printed, as text and as JSON."""

import hashlib
from pathlib import Path
from typing import Any

VERSION_KEYS = [
    "name",
    "image",
    "version",
    "state",
    "path",
    "format",
    "size_bytes",
    "file_bytes",
    "sha256",
    "source_sha256",
    "in_place",
    "parent",
    "created_at",
    "filters",
    "hash",
    "hash_algorithm",
    "source_hash",
    "changed",
    "changed_at",
    "verified_at",
    "outcome",
    "verity",
]


def test_import_says_what_was_made(run: Any, golden: Path) -> None:
    assert run("image", "import", golden, "--name", "Lab").out == "lab@1: 1.0 MiB, active.\n"
    second = run("image", "import", golden, "--name", "lab")
    assert second.out == "lab@2: 1.0 MiB, sealed; 'goldherd image activate lab@2' gives it to the nodes.\n"


def test_import_draws_no_bar_without_a_terminal(run: Any, golden: Path) -> None:
    assert run("image", "import", golden, "--name", "lab").err == ""


def test_list_has_the_documented_shape(run: Any, lab: None, golden: Path) -> None:
    (version,) = run("image", "list", "--json").json
    assert list(version) == VERSION_KEYS
    assert version["source_sha256"] == hashlib.sha256(golden.read_bytes()).hexdigest()
    assert version["sha256"] == hashlib.sha256(Path(version["path"]).read_bytes()).hexdigest()


def test_list_for_people_names_every_version_on_a_line(run: Any, lab: None) -> None:
    lines = run("image", "list").out.splitlines()
    assert any("lab@1" in line and "active" in line and "1.0 MiB" in line for line in lines)


def test_show_names_the_nodes(run: Any, lab: None) -> None:
    run("node", "add", "pc-[1-2]", "--image", "lab")
    shown = run("image", "show", "lab", "--json").json
    assert shown["nodes"] == ["pc-1", "pc-2"]
    assert "lab@1" in run("image", "show", "lab").out


def test_activate_retire_and_remove(run: Any, lab: None, golden: Path) -> None:
    run("image", "import", golden, "--name", "lab")
    assert run("image", "activate", "lab@2").out == "lab@2 is active now.\n"
    assert run("image", "activate", "lab@2").out == "lab@2 is active already: nothing changed.\n"
    assert run("image", "retire", "lab@1").out == "lab@1 is retired now.\n"
    assert run("image", "remove", "lab@1", "--yes").out == "lab@1 removed, with 0 node disks.\n"
    assert [version["name"] for version in run("image", "list", "--json").json] == ["lab@2"]


def test_verify_reads_every_byte(run: Any, lab: None, data: Path) -> None:
    assert run("image", "verify", "lab").out == "lab@1: every byte is as it was sealed.\n"
    file = data / "images" / "lab@1.vhd"
    file.chmod(0o644)
    file.write_bytes(b"x" + file.read_bytes()[1:])
    ended = run("image", "verify", "lab")
    assert ended.code == 1 and "lab@1 is damaged" in ended.err


def test_golden_that_was_changed_gets_no_nodes(run: Any, lab: None, data: Path) -> None:
    file = data / "images" / "lab@1.vhd"
    file.chmod(0o644)
    file.write_bytes(b"x" + file.read_bytes()[1:])
    ended = run("node", "add", "pc-1", "--image", "lab")
    assert ended.code == 1 and "was changed after it was sealed" in ended.err
