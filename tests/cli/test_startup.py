"""What a command loads before it does anything: the start-up budget, held as a list and not as a time."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

PROGRAM: Final = """
import json, sys
sys.argv[0] = "goldherd"
from goldherd.cli.main import main
try:
    main()
finally:
    loaded = {name: getattr(module, "__file__", None) or "" for name, module in list(sys.modules.items())}
    with open(WHERE, "w") as file:
        json.dump(loaded, file)
"""
"""Runs the command line, then writes down what it has loaded."""

HEAVY: Final = ("sqlalchemy", "pydantic", "rich", "structlog", "uvloop", "numpy", "pluggy", "ClusterShell", "asyncio")
"""Packages that cost a start more than 5 ms of CPU each."""
CATALOG: Final = {"sqlalchemy", "pydantic", "ClusterShell", "asyncio", "structlog", "rich"}
"""What a look into the catalog needs; structlog brings Rich and asyncio along."""
PLUGINS: Final = {"pluggy", "numpy", "structlog", "rich", "asyncio", "pydantic", "compiled"}
"""What the plugins need; the compiled modules are the images they derive from."""


def loaded(tmp_path: Path, *arguments: object, **environment: str) -> dict[str, str]:
    """The modules of a process that ran this command line, with their files."""
    report = tmp_path / "loaded.json"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GOLDHERD_")}
    subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("WHERE", repr(str(report))), *map(str, arguments)],
        env=clean | environment,
        capture_output=True,
        check=True,
    )
    modules: dict[str, str] = json.loads(report.read_text())
    return modules


def weight(modules: dict[str, str]) -> set[str]:
    """The heavy packages among modules; `compiled` for modules of ours in machine code, `server` for the server."""
    names = {name.partition(".")[0] for name in modules}
    ours = [name for name in modules if name.startswith("goldherd.")]
    found = {name for name in HEAVY if name in names}
    found |= {"compiled" for name in ours if modules[name].endswith(".so")}
    return found | {"server" for name in ours if name.split(".")[1] in ("app", "target", "reactor", "session", "scsi")}


@pytest.mark.parametrize(
    "arguments",
    [("--version",), ("--help",), ("image", "--help"), ("node", "add", "--help"), ("export", "--help")],
    ids=" ".join,
)
def test_help_and_version_load_nothing_heavy(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert weight(loaded(tmp_path, *arguments)) == set()


@pytest.mark.parametrize(
    ("command", "may"),
    [
        (("node", "list", "--json"), CATALOG),
        (("node", "show", "pc-1", "--json"), CATALOG),
        (("image", "list", "--json"), CATALOG),
        (("image", "verify", "lab"), CATALOG),
        (("status", "--json"), set()),
        (("plugins", "--json"), PLUGINS),
        (("node", "list"), CATALOG),
        (("node", "reset", "pc-1", "--yes"), CATALOG | PLUGINS),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_command_loads_only_what_it_may(
    run: Any, lab: None, data: Path, tmp_path: Path, command: tuple[str, ...], may: set[str]
) -> None:
    assert run("node", "add", "pc-1", "--image", "lab").code == 0
    assert weight(loaded(tmp_path, "--data", data, *command)) <= may


def test_names_for_plugins_are_loaded_when_they_are_asked_for() -> None:
    program = (
        "import sys, goldherd\n"
        "assert 'goldherd.block.image' not in sys.modules and 'Image' in dir(goldherd)\n"
        "from goldherd import Image, NativeImage, Redirect, errors, hookimpl\n"
        "import goldherd.block.image, goldherd.errors, goldherd.hookspecs\n"
        "assert Image is goldherd.Image is goldherd.block.image.Image and errors is goldherd.errors\n"
        "assert hookimpl is goldherd.hookspecs.hookimpl\n"
        "assert not hasattr(goldherd, 'Imago')\n"
        "from goldherd import *\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_completion_of_formats_and_filters_loads_plugins_and_no_catalog(run: Any, data: Path, tmp_path: Path) -> None:
    for words in ("goldherd image import x --format v", "goldherd export x --filter d"):
        environment = {"_GOLDHERD_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        assert weight(loaded(tmp_path, **environment)) <= PLUGINS


@pytest.mark.parametrize("words", ["goldherd --data {data} node show p", "goldherd --data {data} image show l"])
def test_completion_of_names_loads_nothing_heavy(run: Any, lab: None, data: Path, tmp_path: Path, words: str) -> None:
    line = words.format(data=data)
    environment = {"_GOLDHERD_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    assert weight(loaded(tmp_path, **environment)) == set()
