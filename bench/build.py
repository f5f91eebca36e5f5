"""Builds loadgen beside its source: python -m bench.build. It is no part of the wheel."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension
from setuptools.dist import Distribution

HERE = Path(__file__).parent


def build() -> None:
    """Compiles bench/loadgen.pyx against core's .pxd files; does nothing when it is up to date."""
    extension = Extension("bench.loadgen", [str(HERE / "loadgen.pyx")], extra_compile_args=["-O2"])
    modules = cythonize(
        [extension],
        include_path=[str(HERE.parent / "core"), str(HERE.parent)],
        build_dir=str(HERE.parent / "build" / "cython"),
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
        },
        quiet=True,
    )
    command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
    command.build_lib = str(HERE.parent)
    command.build_temp = str(HERE.parent / "build" / "bench")
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    build()
