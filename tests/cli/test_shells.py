"""The completion script, used by a real bash on a terminal."""

import os
import pty
import select
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from goldherd.cli.completion import BASH

SECONDS_MAX: Final = 60.0
DONE: Final = b"<end>"


def typed(script: Path, line: str) -> str:
    """What bash makes of a line when Tab is pressed at its end: the arguments of the command, as it would run it."""
    master, slave = pty.openpty()
    environment = {**os.environ, "PS1": "", "TERM": "dumb", "INPUTRC": "/dev/null"}
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"], stdin=slave, stdout=slave, stderr=slave, env=environment
    ) as shell:
        os.close(slave)
        os.write(master, f"source {script}; echo ready'<'\n".encode())
        _until(master, b"ready<\r\n")
        os.write(master, f"{line}\t".encode())
        os.write(master, b"\n")
        answer = _until(master, DONE)
        os.write(master, b"exit\n")
        shell.wait()
    os.close(master)
    return answer.rpartition(b"<begin>")[2].removesuffix(DONE).decode()


def _until(master: int, mark: bytes) -> bytes:
    seen = b""
    while mark not in seen:
        assert select.select([master], [], [], SECONDS_MAX)[0], seen
        seen += os.read(master, 4096)
    return seen[: seen.index(mark) + len(mark)]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Our script for a function that completes like goldherd and tells its arguments when it is run."""
    names = {"complete_func": "_goldherd_completion", "prog_name": "goldherd", "autocomplete_var": "_GOLDHERD_COMPLETE"}
    program = "import sys; sys.argv[0] = 'goldherd'; from goldherd.cli.main import main; main()"
    asker = tmp_path / "asker"
    asker.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}"\n')
    asker.chmod(0o755)
    path = tmp_path / "completion.bash"
    path.write_text(
        (BASH % names).replace('"$1" )', f'"{asker}" )')
        + '\ngoldherd() { printf "<%s>" begin; printf "%s|" "$@"; printf "<%s>" end; }\n'
    )
    return path


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("image show lab@", "image|show|lab@1|"),
        ("node show pc", "node|show|pc-1|"),
        ("node sh", "node|show|"),
        ("node add x --image lab@", "node|add|x|--image|lab@1|"),
        ("node add x --allow init", "node|add|x|--allow|initiator:|"),
        ("node set pc-1 --policy ke", "node|set|pc-1|--policy|keep|"),
    ],
)
def test_bash_completes(run: Any, lab: None, data: Path, script: Path, line: str, completed: str) -> None:
    assert run("node", "add", "pc-1", "--image", "lab").code == 0
    assert typed(script, f"goldherd --data {data} {line}") == f"--data|{data}|{completed}"


def test_script_that_is_shown_is_ours() -> None:
    program = "import sys; sys.argv[0] = 'goldherd'; from goldherd.cli.main import main; main()"
    ended = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "{program}" --show-completion; true'], capture_output=True, text=True
    )
    assert "readline keeps" in ended.stdout
