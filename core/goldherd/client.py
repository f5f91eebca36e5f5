"""Asks the running daemon: one line of JSON there, one line back, over the unix socket in the data folder."""

import json
import socket
from pathlib import Path
from typing import Any

from goldherd.errors import GoldherdError
from goldherd.limits import CONTROL_REPLY_BYTES_MAX, CONTROL_SECONDS_MAX


def ask(path: Path, command: str) -> dict[str, Any] | None:
    """The daemon's reply to a command; None when no daemon is running.

    Raises GoldherdError when it runs but gives no sensible answer, or may not be asked by this user.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(CONTROL_SECONDS_MAX)
            connection.connect(str(path))
            connection.sendall(json.dumps({"command": command}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline(CONTROL_REPLY_BYTES_MAX)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except PermissionError as error:
        raise GoldherdError(f"The daemon at {path} may not be asked: run this as the user who runs it.") from error
    except OSError as error:
        raise GoldherdError(f"The daemon at {path} does not answer ({error}): look into its log.") from error
    try:
        reply = json.loads(line)
    except ValueError as error:
        raise GoldherdError(f"The daemon at {path} gave no sensible answer: look into its log.") from error
    if not isinstance(reply, dict):
        raise GoldherdError(f"The daemon at {path} gave no sensible answer: look into its log.")
    if "error" in reply:
        raise GoldherdError(f"The daemon refused '{command}': {reply['error']}")
    return reply
