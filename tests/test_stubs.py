"""What a `.pyi` says of a compiled module is so: stubtest imports each and compares names, parameters and values."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOTS = (ROOT / "core", ROOT / "plugins")

ALLOWED = (
    r".*\.__pyx_\w+__",  # Cython's own
    r".*\.__test__",
    r".*\.__reduce_cython__",
    r".*\.__setstate_cython__",
)
"""What compiled modules have and no stub tells."""


def compiled() -> list[str]:
    """The modules that are written in Cython, of both source roots."""
    return sorted(
        ".".join(path.relative_to(root).with_suffix("").parts) for root in ROOTS for path in root.rglob("*.pyx")
    )


def test_every_compiled_module_has_a_stub() -> None:
    missing = [path for root in ROOTS for path in root.rglob("*.pyx") if not path.with_suffix(".pyi").exists()]
    assert not missing


def test_stubs_tell_the_truth(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.write_text("\n".join(ALLOWED))
    # That a class takes up memory of its own, so that no two of them are bases of one, is left to Cython.
    arguments = ["--concise", "--ignore-disjoint-bases", "--ignore-unused-allowlist", "--allowlist", str(allowed)]
    stubtest = [sys.executable, "-m", "mypy.stubtest", *arguments, "--mypy-config-file", str(ROOT / "pyproject.toml")]
    path = os.pathsep.join(str(root) for root in ROOTS)
    ran = subprocess.run(
        [*stubtest, *compiled()], cwd=tmp_path, env={**os.environ, "MYPYPATH": path}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
