"""goldherd: diskless boot over iSCSI from one golden image.

The names a plugin needs: Format and Capabilities, Image (and NativeImage for compiled backends), FilterImage, hookimpl,
Redirect, errors, get_include. Each is loaded when it is first asked for, so that a command which needs none of them
starts at once.
Start reading at docs/architecture.md, then at the room the work is in.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from goldherd import errors
    from goldherd.block.filter import FilterImage
    from goldherd.block.format import Capabilities, Format, Opener, Place
    from goldherd.block.image import Image, NativeImage
    from goldherd.hookspecs import Redirect, hookimpl
    from goldherd.model.options import FilterSpec

__version__ = "0.1.0"
__all__ = [
    "Capabilities",
    "FilterImage",
    "FilterSpec",
    "Format",
    "Image",
    "NativeImage",
    "Opener",
    "Place",
    "Redirect",
    "__version__",
    "errors",
    "get_include",
    "hookimpl",
]

_HOMES: Final = {
    "Capabilities": "goldherd.block.format",
    "FilterImage": "goldherd.block.filter",
    "FilterSpec": "goldherd.model.options",
    "Format": "goldherd.block.format",
    "Image": "goldherd.block.image",
    "NativeImage": "goldherd.block.image",
    "Opener": "goldherd.block.format",
    "Place": "goldherd.block.format",
    "Redirect": "goldherd.hookspecs",
    "hookimpl": "goldherd.hookspecs",
}
"""The module that each name comes from."""

if not TYPE_CHECKING:  # mypy would take any name for an attribute of this package

    def __getattr__(name: str) -> object:
        """Loads one of the names above (PEP 562)."""
        import importlib

        if name == "errors":
            return importlib.import_module("goldherd.errors")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """All public names, also those that are not loaded yet."""
    return sorted({*globals(), *__all__})


def get_include() -> str:
    """The folder to give to cythonize(include_path=[...]) so that a plugin can `cimport goldherd.block.image`."""
    from pathlib import Path

    return str(Path(__file__).parent.parent)
