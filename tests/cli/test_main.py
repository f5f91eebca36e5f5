"""The command line as a whole: exit codes, one sentence for an error, completion."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import goldherd
import pytest


def test_version_is_shown(run: Any) -> None:
    assert run("--version").out == f"goldherd {goldherd.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("node", "add"),
        ("node", "list", "--nonsense"),
        ("node", "add", "pc-1", "--image", "lab", "--chap-user", "u"),
        ("node", "set", "pc-1"),
        ("image", "import", "x"),
        ("export",),
        ("export", "missing.raw,Read-Only"),
        ("serve", "--reactors", "many"),
    ],
)
def test_wrong_usage_ends_with_2(run: Any, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("image", "import", "/nonexistent.vhd", "--name", "lab"),
        ("image", "import", "/etc/passwd", "--name", "../lab"),
        ("image", "show", "lab"),
        ("image", "activate", "lab"),
        ("image", "verify", "lab@1"),
        ("image", "remove", "lab@1"),
        ("node", "add", "pc-1", "--image", "lab"),
        ("node", "add", "pc-1", "--image", "lab", "--policy", "maybe"),
        ("node", "add", "pc-[1-", "--image", "lab"),
        ("node", "add", "pc-[1-99999999]", "--image", "lab"),
        ("node", "add", "pc-1", "--image", "lab", "--mac", "xx"),
        ("node", "add", "pc-1", "--image", "lab", "--initiator", "me"),
        ("node", "add", "pc-1", "--image", "lab", "--chap-user", "u", "--chap-secret-file", "/nonexistent"),
        ("node", "show", "pc-1"),
        ("node", "remove", "pc-1"),
        ("export", "/nonexistent.vhd"),
        ("export", "/etc"),
        ("export", "/etc/passwd", "--target", "no name"),
        ("serve", "--listen", "host:99999"),
        ("serve", "--cache", "lots"),
        ("serve", "--reactors", "-1"),
    ],
)
def test_refusal_is_one_sentence_and_ends_with_1(run: Any, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.count("\n") == 1
    assert ended.err.rstrip().endswith(".")
    assert "Traceback" not in ended.err


def test_error_of_our_own_shows_no_traceback_but_logs_it(
    run: Any, lab: None, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("goldherd.hooks.Hooks", broken)
    ended = run("node", "add", "pc-1", "--image", "lab")
    assert ended.code == 1
    assert ended.err.count("\n") == 1 and "Traceback" not in ended.err
    assert str(data / "goldherd.log") in ended.err
    assert "ZeroDivisionError: by zero" in (data / "goldherd.log").read_text()


def test_folder_that_can_not_be_used_is_named(run: Any, data: Path) -> None:
    data.write_text("a file")
    ended = run("node", "list")
    assert ended.code == 1
    assert f"The data folder {data} can't be used" in ended.err


def test_file_that_is_no_catalog_is_left_alone(run: Any, data: Path) -> None:
    data.mkdir()
    (data / "catalog.sqlite").write_text("notes of mine, more than a header long" * 100)
    ended = run("node", "list")
    assert ended.code == 1 and "is not a catalog" in ended.err
    assert (data / "catalog.sqlite").read_text().startswith("notes of mine")


def test_data_folder_comes_from_the_environment(tmp_path: Path, golden: Path) -> None:
    environment = {**os.environ, "GOLDHERD_DATA": str(tmp_path / "mine")}
    command = [sys.executable, "-m", "goldherd.cli.main", "image", "import", str(golden), "--name", "lab"]
    subprocess.run(command, env=environment, capture_output=True, check=True)
    assert (tmp_path / "mine" / "catalog.sqlite").exists()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("goldherd --data {data} node show pc", {"pc-1", "pc-2"}),
        ("goldherd --data {data} image show la", {"lab", "lab@1"}),
        ("goldherd --data {data} node add x --image lab@", {"lab@1"}),
        ("goldherd --data {data} node sh", {"show"}),
        ("goldherd --data {data}/none node show pc", set()),
        ("goldherd --data {data} image import x --format vhd", {"vhd", "vhd-fixed"}),
        ("goldherd --data {data} export x --filter de", {"delay"}),
        ("goldherd --data {data} export x.vhd,re", {"x.vhd,read-only", "x.vhd,removable"}),
        (
            "goldherd --data {data} export x.vhd,thick,format=vhd",
            {f"x.vhd,thick,format={n}" for n in ("vhd", "vhd-fixed")},
        ),
        ("goldherd --data {data} plugins auth_", {"auth_chap", "auth_none"}),
    ],
)
def test_shell_completes_commands_nodes_and_images(
    run: Any, lab: None, data: Path, words: str, offered: set[str]
) -> None:
    assert run("node", "add", "pc-[1-2]", "--image", "lab").code == 0
    line = words.format(data=data)
    environment = {
        **os.environ,
        "_GOLDHERD_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    program = "import sys; sys.argv[0] = 'goldherd'; from goldherd.cli.main import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert set(ended.stdout.split()) == offered
    assert not (data / "none").exists()
