"""How a command ends when it is interrupted, or when the reader of its output has gone: quietly."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

INTERRUPT_AT: Final = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == NAME:
            os.kill(os.getpid(), signal.SIGINT)

from goldherd.cli.main import main
sys.argv[0] = "goldherd"
sys.meta_path.insert(0, Interrupt())
main()
raise AssertionError("main came back")
"""
"""Runs the command line and sends the process a SIGINT while it imports the module NAME."""

COMPLETION: Final = {"_GOLDHERD_COMPLETE": "complete_bash", "COMP_WORDS": "goldherd node show p", "COMP_CWORD": "3"}
COMMAND: Final = [sys.executable, "-m", "goldherd.cli.main"]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("goldherd.cli.command_line", ["--help"]),
        ("typer", ["--help"]),
        ("goldherd.errors", ["node", "list"]),
        ("goldherd.services.context", ["node", "list"]),
        ("sqlalchemy", ["node", "list"]),
        ("goldherd.block.image", ["plugins"]),
        ("goldherd_plugins.vhd", ["plugins"]),
        ("goldherd.app", ["serve", "--listen", "127.0.0.1:0"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_interrupt_while_something_is_imported_is_quiet(
    lab: None, data: Path, module: str, arguments: list[str]
) -> None:
    program = INTERRUPT_AT.replace("NAME", repr(module))
    ended = subprocess.run([sys.executable, "-c", program, "--data", str(data), *arguments], capture_output=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")


@pytest.mark.parametrize("module", ["typer", "goldherd.cli.completion"])
def test_interrupt_of_a_completion_is_quiet(module: str) -> None:
    program = INTERRUPT_AT.replace("NAME", repr(module))
    environment = {**os.environ, **COMPLETION}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")


def test_interrupt_of_a_command_at_work_is_quiet_and_leaves_nothing(run: Any, data: Path, tmp_path: Path) -> None:
    source = tmp_path / "source.raw"
    with source.open("wb") as file:
        file.truncate(1 << 20)
    program = (
        "import os, signal, sys\n"
        "import goldherd.files.copying as copying\n"
        "from goldherd.cli.main import main\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGINT)\n"
        "main()\n"
    )
    arguments = ["--data", str(data), "image", "import", str(source), "--name", "lab"]
    ended = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")
    assert run("image", "list", "--json").json == []


@pytest.mark.parametrize(
    "arguments",
    [["node", "list"], ["node", "list", "--json"], ["image", "list"], ["status"], ["plugins"]],
    ids=" ".join,
)
def test_closed_pipe_is_quiet(run: Any, lab: None, data: Path, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        ended = subprocess.run([*COMMAND, "--data", str(data), *arguments], stdout=pipe, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, b"")


def test_closed_pipe_of_the_help_is_quiet() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        ended = subprocess.run([*COMMAND, "--help"], stdout=pipe, stderr=subprocess.PIPE)
    assert ended.stderr == b"" and ended.returncode != 0


def test_output_that_can_not_be_written_is_one_sentence(run: Any, lab: None, data: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run([*COMMAND, "--data", str(data), "image", "list"], stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 1
    assert ended.stderr == b"The system refused it: No space left on device.\n"


def test_closed_stdout_and_stderr_change_nothing(run: Any, lab: None, data: Path) -> None:
    command = " ".join(COMMAND)
    assert subprocess.run(f"{command} --data {data} image list >&- 2>&-", shell=True).returncode == 0
    assert subprocess.run(f"{command} --data {data} image show none >&- 2>&-", shell=True).returncode == 1


@pytest.mark.parametrize("arguments", [["image", "list"], ["image", "show", "none"]], ids=" ".join)
def test_nothing_is_complained_of_after_the_end(run: Any, lab: None, data: Path, arguments: list[str]) -> None:
    """Python's development mode shows what finalizers raise; from 3.13 on every Python does."""
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-m", "goldherd.cli.main", "--data", str(data), *arguments], capture_output=True
    )
    assert b"Exception ignored" not in ended.stderr
