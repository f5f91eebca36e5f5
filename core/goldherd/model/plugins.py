"""Plugins as lists show them: a plain, frozen record."""

from dataclasses import dataclass
from typing import Literal

PluginState = Literal["loaded", "declined"]


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """An installed plugin: loaded with what it brings, or declined with the reason."""

    name: str
    state: PluginState
    reason: str | None = None
    """Why it, or a format of it, is not used: one sentence."""
    version: str | None = None
    """That of the package that brings it; None when no package does."""
    abi: int | None = None
    """The image ABI that a compiled plugin was built for; None for any other."""
    formats: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    """The hooks that it implements."""
