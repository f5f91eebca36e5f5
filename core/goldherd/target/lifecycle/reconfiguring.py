"""Which settings of a running server can change, and which need a restart."""

from typing import Final

from goldherd.settings import ServerSettings

FIXED: Final = frozenset(
    {
        "listen",
        "reactors",
        "cache",
        "target_prefix",
        "inhibit",
        "full_disk_hold",
        "space_soft",
        "space_hard",
        "verify_every",
        "verify_rate",
    }
)
"""Sockets, threads and memory that are made at the start, names that clients know, a lock that is held, and what
held writes were promised."""


def differences(old: ServerSettings, new: ServerSettings) -> tuple[list[str], list[str]]:
    """The names of the settings that differ: those that can change now, and those that need a restart."""
    names = sorted(name for name in ServerSettings.model_fields if getattr(old, name) != getattr(new, name))
    return [name for name in names if name not in FIXED], [name for name in names if name in FIXED]


def merged(old: ServerSettings, new: ServerSettings) -> ServerSettings:
    """The new settings, with those of the old that can't change while the server runs."""
    return new.model_copy(update={name: getattr(old, name) for name in FIXED})
