"""Compiled modules with a fault put into them, to see that the tests would find it."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import goldherd
import goldherd_plugins.vhd

DIRECTIVES = "boundscheck=False,wraparound=False,initializedcheck=False,cdivision=True,auto_pickle=False"


def vhd_writer(folder: Path, old: str, new: str) -> str:
    """The writer of VHDs with `old` replaced by `new`, compiled in a folder: a value for launcher.MUTANT."""
    origin = Path(goldherd_plugins.vhd.__path__[0])
    package = folder / "goldherd_plugins" / "vhd"
    package.mkdir(parents=True)
    for place, copied in ((origin.parent, package.parent), (origin, package)):
        for path in (*place.glob("__init__.py"), *place.glob("*.pxd")):
            (copied / path.name).write_text(path.read_text())
    text = (origin / "writer.pyx").read_text()
    assert text.count(old) == 1, f"the writer of VHDs has no longer one '{old}' that could be changed"
    source = package / "writer.pyx"
    source.write_text(text.replace(old, new))
    core = Path(goldherd.__path__[0]).parent
    cython: list[str | Path] = [
        sys.executable,
        "-m",
        "cython",
        "-3",
        "-X",
        DIRECTIVES,
        "-I",
        core,
        "-I",
        folder,
        source,
    ]
    subprocess.run(cython, check=True, capture_output=True)
    made = package / f"writer{sysconfig.get_config_var('EXT_SUFFIX')}"
    include: tuple[str | Path, ...] = (
        "-I",
        sysconfig.get_path("include"),
        "-I",
        core,
        "-I",
        core / "goldherd" / "block",
    )
    compile_it: list[str | Path] = ["cc", "-O1", "-shared", "-fPIC", *include, source.with_suffix(".c"), "-o", made]
    subprocess.run(compile_it, check=True)
    return f"goldherd_plugins.vhd.writer={made}"
