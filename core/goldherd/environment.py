"""What the environment says before any setting is read: the data folder, the names of targets, the GOLDHERD_ variables.

Imports nothing heavy, because every command asks for this. The variables of the settings themselves are read by
settings.py; a test keeps the list here equal to its fields.
"""

import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from goldherd.errors import SettingsError

PREFIX: Final = "GOLDHERD_"
DATA: Final = "GOLDHERD_DATA"
"""The variable that names the data folder."""
SETTINGS: Final = "GOLDHERD_SETTINGS"
"""The variable that names a file of settings, which the daemon reads at its start and at each SIGHUP."""
TARGET_PREFIX: Final = "iqn.2026-11.io.goldherd"
"""What stands before ":NODE" in a target's name, unless GOLDHERD_TARGET_PREFIX says otherwise."""
VARIABLES: Final = frozenset(
    PREFIX + name
    for name in (
        "CACHE",
        "CONNECTIONS_MAX",
        "DATA",
        "FLUSH_SECONDS",
        "FULL_DISK_HOLD",
        "SPACE_SOFT",
        "SPACE_HARD",
        "INHIBIT",
        "LISTEN",
        "LOGINS_MAX",
        "LOGINS_PER_ADDRESS",
        "LOGIN_FAILURES",
        "LOGIN_ROUNDS",
        "LOGIN_SECONDS",
        "LOG_LEVEL",
        "LOGIN_TEXT_BYTES",
        "PING_SECONDS",
        "PING_TIMEOUT_SECONDS",
        "POWER_CYCLES_PER_HOUR",
        "REACTORS",
        "SETTINGS",
        "SHUTDOWN_FLUSH_SECONDS",
        "SHUTDOWN_SECONDS",
        "SILENT_NODE_MINUTES",
        "TARGET_PREFIX",
        "VERIFY_EVERY",
        "VERIFY_RATE",
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


def control_socket(data: Path) -> Path:
    """The unix socket of the daemon that serves a data folder."""
    return data / "control.sock"


def check_prefix(text: str) -> str:
    """What may stand before ":NODE" in a target's name; ValueError with a sentence otherwise."""
    if not _TARGET_PREFIX.fullmatch(text):
        raise ValueError(
            f"'{text}' can't begin a target name; write iqn.YYYY-MM. and a reversed domain in small letters"
        )
    return text


def read_settings_file(path: Path) -> dict[str, str]:
    """The GOLDHERD_ variables that a file of settings gives, in the form of systemd's EnvironmentFile=; {} without it.

    A line is NAME=value or NAME="value", or begins with # or ; and says nothing. Raises SettingsError for a file that
    can't be read, for a line of another form, and for a variable that is misspelt.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings in {path} can't be read: {error}.") from None
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        name, given, value = (part.strip() for part in line.partition("="))
        if not given or not name.isidentifier():
            raise SettingsError(f"Line {number} of {path} is not NAME=value.")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        if name.startswith(PREFIX):
            found[name] = value
    check_variables(found)
    return found


def target_prefix() -> str:
    """$GOLDHERD_TARGET_PREFIX, checked, or the default; SettingsError when it can't be used."""
    try:
        return check_prefix(os.environ.get("GOLDHERD_TARGET_PREFIX", TARGET_PREFIX))
    except ValueError as error:
        raise SettingsError(f"GOLDHERD_TARGET_PREFIX can't be used: {error}.") from None


_TARGET_PREFIX: Final = re.compile(r"iqn\.\d{4}-\d{2}\.[a-z0-9][a-z0-9.-]*[a-z0-9]")


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


_CAPABILITY_VERSION = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3 of capget(2): two sets of 32 bits each for effective, permitted and inheritable."""


def act_as_owner_of(folder: Path) -> None:
    """Lets root go on with the user and group of a folder that another user owns, and keep its rights.

    Every other user goes on unchanged, and so does root where the folder does not exist yet. To be called before the
    first thread starts: capabilities belong to a thread.

    The daemon runs as a user of its own (deploy/goldherd.service). A disk or a lock that root's `node add` left behind
    as root's would be closed to the daemon.

    Raises OSError when the kernel refuses it.
    """
    if os.geteuid() != 0 or not folder.is_dir():
        return
    owner = folder.stat()
    if owner.st_uid == 0:
        return
    import ctypes  # only here: a command must start fast

    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    # The kernel takes the effective capabilities away with user 0 and leaves the permitted ones (capabilities(7)).
    # Root's command may still read an image that only root may read, and adopt it where it lies.
    libc = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0))
    sets = ctypes.create_string_buffer(24)
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "the capabilities of this process could not be read")
    _, low, inherited_low, _, high, inherited_high = struct.unpack("=6I", sets.raw[:24])
    sets.raw = struct.pack("=6I", low, low, inherited_low, high, high, inherited_high)
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "the capabilities of this process could not be kept")
