"""Builds the compiled modules of both source roots; everything else stands in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

ROOTS = ("core", "plugins")
# GOLDHERD_SANITIZE=address,undefined builds the extensions for a run under the sanitizers, whose runtime is preloaded
# (scripts/sanitize), so that nothing of it is linked.
SANITIZE = os.environ.get("GOLDHERD_SANITIZE", "")
COMPILE = ["-O2", "-fno-strict-aliasing", "-Wno-unused-function", "-Wno-unreachable-code"]
LINK = ["-pthread"]
if SANITIZE:
    COMPILE = ["-O1", "-g", "-fno-omit-frame-pointer", f"-fsanitize={SANITIZE}"]

packages: list[str] = []
package_dir: dict[str, str] = {}
extensions: list[Extension] = []
for root in ROOTS:
    for package in find_packages(root):
        packages.append(package)
        package_dir[package] = f"{root}/{package.replace('.', '/')}"
    for source in sorted(Path(root).rglob("*.pyx")):
        name = ".".join(source.relative_to(root).with_suffix("").parts)
        extensions.append(
            Extension(
                name,
                [str(source)],
                extra_compile_args=COMPILE,
                extra_link_args=LINK,
                include_dirs=[str(source.parent)],
            )
        )

if not extensions:
    raise SystemExit("setup.py found no .pyx: this source archive is incomplete, and a build would do nothing")

setup(
    packages=packages,
    package_dir=package_dir,
    ext_modules=cythonize(
        extensions,
        include_path=list(ROOTS),
        build_dir="build/cython",
        nthreads=os.cpu_count() or 1,
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
            "auto_pickle": False,
            "embedsignature": False,
        },
    ),
)
