"""towncrier makes a release's section of the changelog from the fragments, with the settings of pyproject.toml."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with a fragment of each kind and nothing else to tell."""
    for name in ("pyproject.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    folder = tmp_path / "docs" / "changes"
    folder.mkdir(parents=True)
    for name in ("README.md", "section.md.jinja"):
        shutil.copy(ROOT / "docs" / "changes" / name, folder)
    (folder / "aisles.mended.md").write_text("A row of `aisles`\nis counted. It was not.\n")
    (folder / "bays.new.md").write_text("Bays have names.\n")
    (folder / "cranes.different.md").write_text("Cranes turn left.\n")
    for arguments in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True)
    return tmp_path


def towncrier(tree: Path, *arguments: str) -> str:
    """What towncrier prints."""
    command = [sys.executable, "-m", "towncrier", "build", "--version", "9.8.7", "--date", "2031-02-03", *arguments]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=True).stdout


SECTION = """\
## 9.8.7 (2031-02-03)

### New

- Bays have names.

### Different

- Cranes turn left.

### Mended

- A row of `aisles`
  is counted. It was not.
"""


def test_section_of_a_release_stands_above_the_older_ones(tree: Path) -> None:
    before = (tree / "CHANGELOG.md").read_text()
    towncrier(tree, "--yes")
    head, marker, older = before.partition("below this line. -->\n")
    assert (tree / "CHANGELOG.md").read_text() == f"{head}{marker}\n{SECTION}\n{older.lstrip()}"
    assert {path.name for path in (tree / "docs" / "changes").iterdir()} == {"README.md", "section.md.jinja"}


def test_draft_shows_the_section_and_changes_nothing(tree: Path) -> None:
    assert SECTION in towncrier(tree, "--draft")
    assert len(list((tree / "docs" / "changes").iterdir())) == 5
