"""scripts/setup installs the Debian package of each program that the tests and scripts run.

A test that runs a program of a package that happens to be there would fail on a fresh machine only.
"""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PLACES = "/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAM = re.compile(r"[a-z0-9][a-z0-9+._-]*")
RUNNERS = {"Popen", "Process", "check_output", "do", "run", "which"}
"""Functions whose first argument is, or may be, a program."""
WORDS_ONLY = {"file", "kill", "make", "man", "node", "pip", "time", "write"}
"""Words in such a place that run no program, though a program may have that name (kill is the shell's own)."""
DEBIAN = {"apt"}
"""What scripts/setup itself needs."""

Relations = dict[str, list[set[str]]]


def first_words(path: Path) -> Iterator[ast.expr]:
    """Where a Python file can name a program: the beginnings of lists, tuples and calls that run something."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.List | ast.Tuple):
            yield from node.elts[:1]
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield from node.args[:1] if name in RUNNERS else ()


def strings(path: Path) -> Iterator[str]:
    """The strings of a Python file, or the words of a shell script, that could name a program."""
    if path.suffix == ".py":
        for node in first_words(path):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
    else:
        lines = (line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
        yield from re.split(r"[\s;|&(){}$'\"]+", "\n".join(lines))


def sources() -> Iterator[Path]:
    """Test files and scripts. What tests/guest/guest holds runs in a virtual machine."""
    yield from (path for path in (ROOT / "tests").rglob("*.py"))
    yield from (ROOT / "tests" / "support").glob("*.sh")
    yield from (path for path in (ROOT / "scripts").iterdir() if path.is_file())


def programs() -> dict[str, Path]:
    """Programs of this system whose name is a word of a test or script."""
    words = {word for path in sources() for word in strings(path) if PROGRAM.fullmatch(word)} - WORDS_ONLY
    found = {word: shutil.which(word, path=PLACES) for word in sorted(words)}
    return {word: Path(place) for word, place in found.items() if place}


def owners(paths: Iterable[Path]) -> dict[str, str]:
    """The packages that these files came with, by the files' names as the packages have them."""
    wanted = {str(name) for path in paths for name in (path, path.resolve(), path.resolve().relative_to("/usr"))}
    wanted |= {f"/{name}" for name in wanted if not name.startswith("/")}
    owned = {}
    for listing in Path("/var/lib/dpkg/info").glob("*.list"):
        package = listing.stem.partition(":")[0]
        owned |= dict.fromkeys(wanted.intersection(listing.read_text().splitlines()), package)
    return owned


def owner(path: Path, owned: Mapping[str, str]) -> str:
    """The package of a program; empty when no package brought it."""
    whole = path.resolve()
    names = (path, whole, Path("/") / whole.relative_to("/usr"))
    return next((owned[str(name)] for name in names if str(name) in owned), "")


def installed() -> tuple[Relations, set[str]]:
    """What each installed package depends on (each a set of alternatives), and those that every system has."""
    form = "${Package}\t${Essential}\t${Provides}\t${Pre-Depends}, ${Depends}\n"
    listed = subprocess.run(["dpkg-query", "-W", "-f", form], capture_output=True, text=True, check=True).stdout
    needs: Relations = {}
    always = set()
    for line in listed.splitlines():
        package, essential, provides, depends = line.split("\t")
        clauses = [{names(one) for one in clause.split("|")} - {""} for clause in depends.split(",")]
        for name in {package, *map(names, provides.split(","))} - {""}:
            needs.setdefault(name, []).extend(clause for clause in clauses if clause)
            if name != package:
                needs[name].append({package})
        if essential == "yes":
            always.add(package)
    return needs, always


def names(clause: str) -> str:
    """The name in one alternative of a dependency."""
    return re.sub(r"[:( ].*", "", clause.strip())


def with_dependencies(packages: Iterable[str], needs: Relations) -> set[str]:
    """The packages with all that comes with them."""
    reached: set[str] = set()
    waiting = list(packages)
    while waiting:
        package = waiting.pop()
        if package not in reached:
            reached.add(package)
            waiting += [one for clause in needs.get(package, []) for one in clause if one in needs]
    return reached


def of_setup() -> set[str]:
    """The packages that scripts/setup names."""
    lists = re.findall(r"(?:_packages|\bpackages)\+?=\(([^)]*)\)", (ROOT / "scripts" / "setup").read_text())
    return {word for text in lists for word in text.split() if PROGRAM.fullmatch(word)}


def test_setup_installs_every_program_that_a_test_runs() -> None:
    needs, always = installed()
    there = with_dependencies(of_setup() | DEBIAN | always, needs)
    found = programs()
    owned = owners(found.values())
    packages = {name: owner(path, owned) for name, path in found.items()}
    assert packages["qemu-img"] == "qemu-utils"
    missing = {name: package for name, package in packages.items() if package not in there}
    assert not missing, "add the packages to scripts/setup, or words that run nothing to WORDS_ONLY"
