"""Builds the compiled modules of both source roots; everything else stands in pyproject.toml.

GOLDHERD_SANITIZE=address,undefined    a build for a run under the sanitizers (scripts/sanitize)
CFLAGS, LDFLAGS                        decide on optimisation, debug symbols and stripping when they are set; by
                                       default modules are optimised and hold no symbols
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

from distutils.command.install_data import install_data  # isort: skip - setuptools brings it, so it comes after

ROOTS = ("core", "plugins")
SANITIZE = os.environ.get("GOLDHERD_SANITIZE", "")
COMPILE = ["-fno-strict-aliasing", "-Wno-unused-function", "-Wno-unreachable-code"]
LINK = ["-pthread"]
if SANITIZE:
    # The sanitizers' runtime is preloaded, so that nothing of it is linked.
    COMPILE += ["-O1", "-g", "-fno-omit-frame-pointer", f"-fsanitize={SANITIZE}"]
elif "CFLAGS" not in os.environ:
    COMPILE += ["-O2", "-g0"]
if not SANITIZE and "LDFLAGS" not in os.environ:
    LINK += ["-Wl,--strip-all"]

SHARED = "goldherd.native.goldherd_cython"
"""The module that Cython makes of the helpers (memoryviews and their like) which each module would hold otherwise."""

DATA = {"docs": "doc/goldherd", "examples": "goldherd/examples", "deploy": "goldherd/deploy"}
"""Folders of the tree to where they are installed below share/."""


class BuildExtensions(build_ext):
    """Says which package is missing before the first module is compiled, and compiles on all cores."""

    def build_extensions(self) -> None:
        """Tries the compiler on the headers that every module includes."""
        compiler = self.compiler.compiler_so[0]
        if shutil.which(compiler) is None:
            raise SystemExit(
                f"goldherd has compiled modules, and the C compiler '{compiler}' is not there: install it (on Debian: "
                "apt-get install gcc libc6-dev), or name another one in the environment variable CC."
            )
        for header, package in (
            ("stdio.h", "libc6-dev"),
            ("Python.h", "python3-dev"),
            ("linux/falloc.h", "linux-libc-dev"),
        ):
            if not self._finds(header):
                raise SystemExit(
                    f"goldherd has compiled modules, and the C compiler '{compiler}' does not find {header}: "
                    f"install it (on Debian: apt-get install {package})."
                )
        self.parallel = self.parallel or os.cpu_count()
        super().build_extensions()

    def _finds(self, header: str) -> bool:
        folders = [f"-I{folder}" for folder in self.compiler.include_dirs]
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "header.c"
            source.write_text(f"#include <{header}>\n")
            command = [*self.compiler.compiler_so, *folders, "-E", str(source), "-o", os.devnull]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0


class InstallData(install_data):
    """Adds the man page, which is made from the commands."""

    def run(self) -> None:
        """Makes the page, unless this build has no Typer, which the commands are written with."""
        command = [sys.executable, "scripts/manpage"]
        made = subprocess.run(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(ROOTS)}, capture_output=True)
        if made.returncode == 0:
            page = Path("build") / "goldherd.1"
            page.parent.mkdir(exist_ok=True)
            page.write_bytes(made.stdout)
            self.data_files.append(("share/man/man1", [str(page)]))
        else:
            reason = made.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            self.warn(f"The man page is left out, as it could not be made from the commands: {reason}")
        super().run()


def installed_data() -> list[tuple[str, list[str]]]:
    """The files that lie below share/ when goldherd is installed, by folder."""
    found = {"share/doc/goldherd": ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"]}
    for tree, place in DATA.items():
        for path in sorted(Path(tree).rglob("*")):
            if path.is_file() and not {"__pycache__", "changes"} & set(path.parts):
                found.setdefault(f"share/{place}/{path.parent.relative_to(tree)}".removesuffix("/."), []).append(
                    str(path)
                )
    return sorted(found.items())


packages: list[str] = []
package_dir: dict[str, str] = {}
extensions: list[Extension] = []
for root in ROOTS:
    for package in find_packages(root):
        packages.append(package)
        package_dir[package] = f"{root}/{package.replace('.', '/')}"
    for source in sorted(Path(root).rglob("*.pyx")):
        name = ".".join(source.relative_to(root).with_suffix("").parts)
        extensions.append(Extension(name, [str(source)], include_dirs=[str(source.parent)]))

if not extensions:
    raise SystemExit("setup.py found no .pyx: this source archive is incomplete, and a build would do nothing")

extensions.append(Extension(SHARED, [f"core/{SHARED.replace('.', '/')}.c"]))
for extension in extensions:
    extension.extra_compile_args = COMPILE
    extension.extra_link_args = LINK

setup(
    packages=packages,
    package_dir=package_dir,
    data_files=installed_data(),
    cmdclass={"build_ext": BuildExtensions, "install_data": InstallData},
    ext_modules=cythonize(
        extensions,
        include_path=list(ROOTS),
        build_dir="build/cython",
        shared_utility_qualified_name=SHARED,
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
