"""How long work tells how far it is."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Told while something long goes on: what is being done, bytes done, bytes in all."""


def silent(stage: str, done: int, total: int) -> None:
    """Progress that is shown to nobody."""
