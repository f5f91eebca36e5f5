"""CHAP secrets as users hand them over: one line in a file that they name."""

import codecs
from pathlib import Path

import typer

from goldherd.cli.output import complain
from goldherd.errors import SettingsError
from goldherd.limits import CHAP_SECRET_BYTES_MAX, CHAP_SECRET_BYTES_MIN
from goldherd.model.secrets import can_be_secret


def read_chap(user: str | None, secret_file: Path | None, what: str = "--chap") -> bytes | None:
    """The secret that goes with a CHAP user name; both are given or neither."""
    if (user is None) != (secret_file is None):
        raise typer.BadParameter(f"{what}-user and {what}-secret-file belong together: give both.")
    if secret_file is None:
        return None
    if not user:
        raise SettingsError(f"{what}-user is empty: give the name that the initiator will send.")
    secret = read_secret_file(secret_file)
    if len(secret) < CHAP_SECRET_BYTES_MIN:
        complain(
            f"Warning: the secret in {secret_file} has {len(secret)} bytes; RFC 7143 asks for "
            f"{CHAP_SECRET_BYTES_MIN} at least, and Windows refuses fewer."
        )
    return secret


def read_secret_file(path: Path) -> bytes:
    """The secret in a file that a user named: its bytes without the newline at the end.

    Raises SettingsError when there is none, or when it can't be a secret.
    """
    try:
        with path.open("rb") as file:
            secret = file.read(CHAP_SECRET_BYTES_MAX + len(codecs.BOM_UTF8) + len(b"\r\n"))
    except OSError as error:
        raise SettingsError(f"The secret file {path} can't be read ({error.strerror}).") from error
    if secret.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SettingsError(
            f"The secret file {path} is UTF-16 text, so its bytes are not the secret: save it as UTF-8."
        )
    # Editors on Windows put a byte order mark before the text and CR LF behind it; neither is part of the secret.
    secret = secret.removeprefix(codecs.BOM_UTF8).removesuffix(b"\n").removesuffix(b"\r")
    if not can_be_secret(secret):
        raise SettingsError(
            f"The secret file {path} does not hold a secret: write one line of 1 to {CHAP_SECRET_BYTES_MAX} bytes."
        )
    return secret
