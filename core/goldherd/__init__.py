"""goldherd: diskless boot over iSCSI from one golden image.

The names a plugin needs: Image (and NativeImage for compiled backends), hookimpl, Redirect, errors, get_include.
Each is loaded when it is first asked for, so that a command which needs none of them starts at once.
Start reading at docs/architecture.md, then at the room the work is in.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from goldherd import errors
    from goldherd.block.image import Image, NativeImage
    from goldherd.hookspecs import Redirect, hookimpl

__version__ = "0.1.0"
__all__ = ["Image", "NativeImage", "Redirect", "__version__", "errors", "get_include", "hookimpl"]

_HOMES: Final = {
    "Image": "goldherd.block.image",
    "NativeImage": "goldherd.block.image",
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
