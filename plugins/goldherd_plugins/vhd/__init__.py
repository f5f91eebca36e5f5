"""VHD 1.0: fixed, dynamic and differencing disks; everything that is known of the format is in this folder.

The hooks are here. Start reading at layout.py (the fields), survey.py (what a file holds, checked), image.pyx
(reads) and writer.pyx (the order of writes); parents.py finds what a differencing disk is based on.
"""

from pathlib import Path

from goldherd import hookimpl
from goldherd.block.image import Image
from goldherd.hookspecs import Opener

from goldherd_plugins.vhd.create import create_differencing, create_dynamic, create_fixed
from goldherd_plugins.vhd.opening import open_vhd
from goldherd_plugins.vhd.probe import probe

SCHEMES = ("vhd:", "vhd-fixed:")
"""What may be opened and made: "vhd:" makes a dynamic disk, or a differencing one over a parent."""


@hookimpl
def probe_image(path: Path, tail: bytes) -> str | None:
    """ "vhd" for a file that is one."""
    return probe(path, tail)


@hookimpl
def open_image(url: str, mode: str, opener: Opener) -> Image | None:
    """Opens "vhd:PATH" of any kind, with its parents."""
    scheme, separator, path = url.partition(":")
    return open_vhd(path, mode, opener) if scheme + separator in SCHEMES else None


@hookimpl
def create_image(url: str, size_bytes: int, parent: Path | None) -> bool | None:
    """Makes "vhd:PATH" (dynamic, or differencing over the parent) or "vhd-fixed:PATH"."""
    scheme, separator, path = url.partition(":")
    if scheme + separator not in SCHEMES:
        return None
    if scheme == "vhd-fixed":
        if parent is not None:
            return None
        create_fixed(Path(path), size_bytes)
    elif parent is not None:
        create_differencing(Path(path), parent, size_bytes)
    else:
        create_dynamic(Path(path), size_bytes)
    return True
