"""CHAP secrets as users hand them over: one line in a file that they name."""

from pathlib import Path

from goldherd.volumes import secrets


def read_secret_file(path: Path) -> bytes:
    """The secret in a file that a user named; SettingsError when there is none, or when it can't be a secret."""
    return secrets.read_secret_file(path)
