"""The source archive, the wheel made from it, and an environment with the wheel: each is made once."""

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Environment:
    """A virtual environment that holds the wheel; its other packages are those of the tests' own environment."""

    folder: Path

    @property
    def goldherd(self) -> Path:
        """The command."""
        return self.folder / "bin" / "goldherd"


def without_this_tree() -> dict[str, str]:
    """Environment variables with which nothing is imported from this checkout."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "GOLDHERD_DATA")}


def build(tree: Path, into: Path, kind: str) -> Path:
    """Asks the build backend of a tree for its `wheel` or `sdist`, as pip and build do; what was made."""
    script = f"import sys, setuptools.build_meta as b; b.build_{kind}(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", script, into],
        cwd=tree,
        env=without_this_tree(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    (made,) = into.iterdir()
    return made


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git keeps or would keep: no build leaves anything behind, or sees what another left."""
    copy = tmp_path_factory.mktemp("tree")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.split(b"\0")
    for name in map(os.fsdecode, filter(None, listed)):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="session")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive."""
    return build(tree, tmp_path_factory.mktemp("sdist"), "sdist")


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from nothing but the source archive."""
    folder = tmp_path_factory.mktemp("unpacked")
    shutil.unpack_archive(sdist, folder, filter="data")
    (unpacked,) = folder.iterdir()
    return build(unpacked, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A fresh virtual environment with the wheel in it, installed by pip without asking any network."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    install(folder, wheel)
    return Environment(folder)


def install(folder: Path, wheel: Path) -> None:
    """Installs the wheel into a virtual environment, and lets it see the packages that goldherd needs."""
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, env=without_this_tree(), check=True, timeout=120)
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # .pth files of that folder are not read from there, so an editable goldherd stays out of sight.
    others = sysconfig.get_path("purelib")
    (folder / "lib" / name / "site-packages" / "others.pth").write_text(f"{others}\n")
