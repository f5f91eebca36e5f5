"""scripts/test-pythons finds the Pythons of the machine, and says which ones it did not find."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"


def ask(*words: str, pythons: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the script for some versions."""
    return subprocess.run(
        [ROOT / "scripts" / "test-pythons", *words],
        env={**os.environ, "PYTHONS": pythons, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_python_is_found_behind_a_virtual_environment() -> None:
    done = ask("list", pythons=THIS)
    version, python = done.stdout.split()
    assert version == THIS
    assert Path(python).resolve() == Path(sys._base_executable).resolve()  # type: ignore[attr-defined]


def test_python_is_found_in_the_folder_of_pyenv(tmp_path: Path) -> None:
    folder = tmp_path / "versions" / f"{THIS}.99" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(sys._base_executable)  # type: ignore[attr-defined]
    done = ask("list", pythons=THIS, PYENV_ROOT=str(tmp_path), PATH="/usr/sbin:/sbin:/bin")
    assert done.stdout.startswith(f"{THIS} ")


def test_missing_python_is_told_and_fails_only_the_whole_run() -> None:
    brief, whole = ask("brief", pythons="3.99"), ask(pythons="3.99")
    assert (brief.returncode, whole.returncode) == (0, 1)
    for done in (brief, whole):
        assert "not on this machine, so nothing was tested with them: 3.99" in done.stdout
        assert "passed with 0 Pythons" in done.stdout
