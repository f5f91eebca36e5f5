"""Runs the command line in this process, on a data folder of its own with the installed plugins."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from goldherd.cli import logs
from goldherd.cli.command_line import run as run_commands


@dataclass
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GOLDHERD_DATA", "GOLDHERD_LISTEN", "GOLDHERD_TARGET_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "data"


@pytest.fixture
def run(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs `goldherd --data DATA ARGUMENTS...`."""

    def do(*arguments: object) -> Ended:
        capsys.readouterr()
        code = run_commands(["--data", str(data), *map(str, arguments)])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    yield do
    logs.choose_folder(None)


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A raw disk of 1 MiB."""
    path = tmp_path / "golden.raw"
    path.write_bytes(b"boot" * 128 + bytes((1 << 20) - 512))
    return path


@pytest.fixture
def lab(run: Run, golden: Path) -> None:
    """An image named lab."""
    assert run("image", "import", golden, "--name", "lab").code == 0
