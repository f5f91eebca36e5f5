"""goldherd: diskless boot over iSCSI from one golden image.

The names a plugin needs: Image (and NativeImage for compiled backends), hookimpl, Redirect, errors, get_include.
Start reading at docs/architecture.md, then at the room the work is in.
"""

from pathlib import Path

from goldherd import errors
from goldherd.block.image import Image, NativeImage
from goldherd.hookspecs import Redirect, hookimpl

__version__ = "0.1.0"
__all__ = ["Image", "NativeImage", "Redirect", "__version__", "errors", "get_include", "hookimpl"]


def get_include() -> str:
    """The folder to give to cythonize(include_path=[...]) so that a plugin can `cimport goldherd.block.image`."""
    return str(Path(__file__).parent.parent)
