"""Builds loadgen beside its source: python -m bench.build. It is no part of the wheel."""

import fcntl
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension  # type: ignore[import-untyped]
from setuptools.dist import Distribution  # type: ignore[import-untyped]

HERE = Path(__file__).parent
DIRECTIVES = {"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True}


def build() -> None:
    """Compiles bench/loadgen.pyx against core's .pxd files; does nothing when it is up to date.

    Processes that build at the same time do it one after the other: none loads a module that another one writes.
    """
    folder = HERE.parent / "build"
    folder.mkdir(exist_ok=True)
    with (folder / "bench.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _build()


def _build() -> None:
    modules = cythonize(  # type: ignore[no-untyped-call]
        [Extension("bench.loadgen", [str(HERE / "loadgen.pyx")], extra_compile_args=["-O2"])],
        include_path=[str(HERE.parent / "core"), str(HERE.parent)],
        build_dir=str(HERE.parent / "build" / "cython"),
        compiler_directives=DIRECTIVES,
        quiet=True,
    )
    command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
    command.build_lib = str(HERE.parent)
    command.build_temp = str(HERE.parent / "build" / "bench")
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    build()
