"""What the environment says before any setting is read: the data folder, and which GOLDHERD_ variables there are.

Imports nothing heavy, because every command asks for this. The variables of the settings themselves are read by
settings.py; a test keeps the list here equal to its fields.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from goldherd.errors import SettingsError

PREFIX: Final = "GOLDHERD_"
DATA: Final = "GOLDHERD_DATA"
"""The variable that names the data folder."""
VARIABLES: Final = frozenset(
    PREFIX + name
    for name in (
        "CACHE",
        "CONNECTIONS_MAX",
        "DATA",
        "FLUSH_SECONDS",
        "LISTEN",
        "LOGINS_MAX",
        "LOGINS_PER_ADDRESS",
        "LOGIN_FAILURES",
        "LOGIN_ROUNDS",
        "LOGIN_SECONDS",
        "LOGIN_TEXT_BYTES",
        "PING_SECONDS",
        "PING_TIMEOUT_SECONDS",
        "REACTORS",
        "SHUTDOWN_SECONDS",
        "TARGET_PREFIX",
    )
)
"""Every variable that goldherd reads."""

_ALIKE: Final = 0.75
"""From this likeness on (difflib's ratio, 0 to 1) an unknown name is a known one misspelt."""


def default_data_folder() -> Path:
    """$GOLDHERD_DATA, else /var/lib/goldherd for root and ~/.local/share/goldherd for others."""
    named = os.environ.get(DATA)
    if named:
        return Path(named).expanduser()
    if os.geteuid() == 0:
        return Path("/var/lib/goldherd")
    return Path("~/.local/share/goldherd").expanduser()


def check_variables(environment: Mapping[str, str]) -> list[str]:
    """The GOLDHERD_ variables that have no meaning and resemble none that has, sorted.

    Raises SettingsError for one that resembles a variable of ours: it is misspelt, and the setting it was meant for
    would silently keep its default.
    """
    strange = sorted(name for name in environment if name.startswith(PREFIX) and name not in VARIABLES)
    for name in strange:
        from difflib import get_close_matches  # only now: hardly any command comes here

        alike = get_close_matches(name.removeprefix(PREFIX), _SUFFIXES, n=1, cutoff=_ALIKE)
        if alike:
            raise SettingsError(
                f"The environment variable {name} does not exist: write {PREFIX}{alike[0]}, or unset it."
            )
    return strange


_SUFFIXES: Final = sorted(name.removeprefix(PREFIX) for name in VARIABLES)
