"""Every news fragment can become a line of the changelog: a known kind, and whole sentences."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "changes"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]
KINDS = [kind["directory"] for kind in SETTINGS["type"]]
NAME = re.compile(rf"[a-z0-9]+(-[a-z0-9]+)*\.({'|'.join(KINDS)})\.md")


def mistakes(name: str, text: str) -> list[str]:
    """What is wrong with a fragment, a sentence each."""
    wrong = []
    if not NAME.fullmatch(name):
        wrong.append(f"{name}: the name is not SLUG.KIND.md with a kind of {', '.join(KINDS)}.")
    paragraph = text.strip()
    if not paragraph:
        return [*wrong, f"{name}: the file is empty."]
    if re.search(r"\n\s*\n|^\s*([-*#]|\d+\.\s)", paragraph, re.MULTILINE):
        wrong.append(f"{name}: the file holds more than one paragraph, a list or a heading.")
    if not re.match(r"""["'(`]*[A-Z0-9]|`""", paragraph):
        wrong.append(f"{name}: the first sentence does not begin with a capital letter or a literal.")
    if not re.search(r"""\.["')]*$""", paragraph):
        wrong.append(f"{name}: the last sentence has no full stop.")
    return wrong


def test_kinds_are_those_that_the_description_names() -> None:
    assert re.findall(r"^\| `(\w+)` \|", (FOLDER / "README.md").read_text(), re.MULTILINE) == KINDS


def test_every_fragment_can_become_a_line_of_the_changelog() -> None:
    fragments = [path for path in FOLDER.iterdir() if path.name not in SETTINGS["ignore"]]
    assert not [mistake for path in sorted(fragments) for mistake in mistakes(path.name, path.read_text())]


def test_changelog_says_where_a_release_is_put() -> None:
    assert (ROOT / "CHANGELOG.md").read_text().count(SETTINGS["start_string"]) == 1


@pytest.mark.parametrize(
    ("name", "text", "mistake"),
    [
        ("x.fixed.md", "It works.", "kind of new, different, mended"),
        ("X Y.new.md", "It works.", "SLUG.KIND.md"),
        ("new.md", "It works.", "SLUG.KIND.md"),
        ("x.new.md", "", "empty"),
        ("x.new.md", "it works.", "capital letter"),
        ("x.new.md", "It works", "full stop"),
        ("x.new.md", "- It works.", "list"),
        ("x.new.md", "# News\n\nIt works.", "heading"),
        ("x.new.md", "It works.\n\nReally.", "more than one paragraph"),
    ],
)
def test_mistake_is_named(name: str, text: str, mistake: str) -> None:
    assert mistake in " ".join(mistakes(name, text))


@pytest.mark.parametrize("text", ["It works.\n", "`image list` works: it\nlists (all of it).", "65,536 LUNs work."])
def test_whole_sentences_are_taken(text: str) -> None:
    assert not mistakes("image-list.new.md", text)
