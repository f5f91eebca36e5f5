"""The daemon's own door for `goldherd status`: JSON lines over a unix socket in the data folder.

A request is {"command": NAME}; the reply is one object, {"error": SENTENCE} when it can't be had.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from goldherd.errors import SettingsError
from goldherd.limits import CONTROL_REQUEST_BYTES_MAX


class Control:
    """The socket, and the lock that lets one daemon serve a data folder.

    Args:
        path: where the socket lies.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = -1
        self._server: asyncio.Server | None = None
        self.status: Callable[[], dict[str, Any]] = dict

    def __enter__(self) -> "Control":
        self._lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SettingsError(
                f"Another daemon serves {self._path.parent} already. Stop it first, or name another data folder."
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._lock)

    async def open(self) -> None:
        """Listens; the user who runs the daemon may ask it, and the group of the data folder.

        A daemon whose user may not give files to that group answers its own user only.
        """
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        mask = os.umask(0o177)  # there is no moment in which another user may connect
        try:
            listener.bind(str(self._path))
        except OSError as failure:
            listener.close()
            raise SettingsError(
                f"Could not listen on {self._path} for the control socket: {failure.strerror or failure}. Choose a "
                "data folder with a shorter path."
            ) from None
        finally:
            os.umask(mask)
        with contextlib.suppress(PermissionError):
            os.chown(self._path, -1, self._path.parent.stat().st_gid)
            self._path.chmod(0o660)
        self._server = await asyncio.start_unix_server(self._answer, sock=listener, limit=CONTROL_REQUEST_BYTES_MAX)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            writer.write(json.dumps(self._reply(line)).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError):
            pass  # the client has gone, or sent no line
        finally:
            writer.close()

    def _reply(self, line: bytes) -> dict[str, Any]:
        try:
            command = json.loads(line)["command"]
        except (ValueError, KeyError, TypeError):
            return {"error": "A request is one line of JSON with a command."}
        if command != "status":
            return {"error": f"There is no command {command!r:.60}; there is: status."}
        return self.status()
