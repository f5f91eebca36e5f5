"""goldherd out of a wheel, in a fresh virtual environment."""

import subprocess
import tomllib
from pathlib import Path

from bench.pattern import words, write_pattern
from tests.packaging.conftest import ROOT, Environment, without_this_tree
from tests.support.process import Process
from tests.target.initiator import log_in

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def ask(environment: Environment, *command: str | Path) -> str:
    """What a program of the environment prints."""
    done = subprocess.run(
        list(command), cwd=environment.folder, env=without_this_tree(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_version(environment: Environment) -> None:
    assert ask(environment, environment.goldherd, "--version") == f"goldherd {VERSION}\n"


def test_modules_are_those_of_the_environment(environment: Environment) -> None:
    script = "import goldherd, goldherd.block.image as image, goldherd_plugins.vhd.image as vhd; "
    script += "print(goldherd.__file__, image.__file__, vhd.__file__, goldherd.get_include())"
    paths = ask(environment, environment.folder / "bin" / "python", "-c", script).split()
    assert all(Path(path).is_relative_to(environment.folder) for path in paths)


def test_export_serves_a_disk(environment: Environment, tmp_path: Path) -> None:
    disk = write_pattern(tmp_path / "disk.raw", 1 << 20)
    command = [environment.goldherd, "--data", tmp_path / "data", "export", disk, "--listen", "127.0.0.1:0"]
    process = Process(command, tmp_path / "log", environment={"PYTHONPATH": ""})
    try:
        place, target, _ = process.read_line("ready iscsi://").removeprefix("ready iscsi://").split("/")
        host, _, port = place.rpartition(":")
        with log_in((host, int(port)), target, "iqn.2026-11.com.example:stranger").make_ready() as session:
            assert session.read(lba=2047, blocks=1) == words(2047 * 512, 512)
            session.log_out()
    finally:
        assert process.stop() == 0, process.words()
