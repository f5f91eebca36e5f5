"""`pip install 'goldherd[bench]'` brings all that the benchmarks import."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
OURS = {"bench", "goldherd", "goldherd_plugins", "tests"}
OPTIONS = {"--timeout": "pytest-timeout", "--benchmark-disable": "pytest-benchmark"}
"""Options of pytest that a plugin brings."""


def imported(path: Path) -> set[str]:
    """The packages that a file imports, from wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def plain(requirement: str) -> str:
    """The name of a distribution, in one spelling."""
    return re.split(r"[<>=!~;\[ ]", requirement)[0].lower().replace("_", "-")


def test_extra_names_what_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {plain(each) for each in project["dependencies"] + project["optional-dependencies"]["bench"]}
    files = [*(ROOT / "bench").glob("*.py"), ROOT / "tests" / "support" / "targets.py"]
    foreign = set().union(*map(imported, files)) - sys.stdlib_module_names - OURS
    distributions = packages_distributions()
    assert {"pytest", "numpy", "Cython"} <= foreign
    assert {plain(name) for package in foreign for name in distributions[package]} <= named
    text = "".join(path.read_text() for path in files)
    assert {plugin for option, plugin in OPTIONS.items() if option in text} <= named
