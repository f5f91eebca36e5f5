"""The daemon's own door for `goldherd status`, `drain` and `stop`: JSON lines over a unix socket in the data folder.

A request is {"command": NAME}; the reply is one object, {"error": SENTENCE} when it can't be had. What the daemon does
may be asked by its group, and changed by its own user and root.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from goldherd.errors import GoldherdError, SettingsError
from goldherd.limits import CONTROL_REQUEST_BYTES_MAX
from goldherd.model.live import Live

_CREDENTIALS: Final = struct.Struct("iII")
"""struct ucred: process, user, group."""


class Control:
    """The socket, and the lock that lets one daemon serve a data folder.

    Args:
        path: where the socket lies.
        shared: shared() of the process before this one, of which this one takes the folder over.
    """

    def __init__(self, path: Path, shared: Mapping[str, int] | None = None) -> None:
        self._path = path
        self._lock = -1
        self._listener: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self.left = asyncio.Event()
        """Set when another process serves the folder, and this one has given its last answer."""
        self._leaves = False
        self._shared = shared or {}
        self.live: Live | None = None
        """What it speaks for; None before that is made."""
        self.upgrade: Callable[[], Awaitable[dict[str, Any]]] | None = None

    def __enter__(self) -> "Control":
        if self._shared:
            self._lock = self._shared["lock"]
            self._listener = socket.socket(fileno=self._shared["control"])
            return self
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
        if not self._leaves and (not self._shared or self._server is not None):
            self._path.unlink(missing_ok=True)
        os.close(self._lock)

    def shared(self) -> dict[str, int]:
        """The descriptors that the process which follows this one needs: by them the folder is served without a gap."""
        assert self._listener is not None, "open() comes first"
        return {"lock": self._lock, "control": self._listener.fileno()}

    def leave(self) -> None:
        """Another process answers from now on; the answer under way is given."""
        self._leaves = True
        if self._server is not None:
            self._server.close()

    async def open(self) -> None:
        """Listens; the user who runs the daemon may ask it, and the group of the data folder.

        A daemon whose user may not give files to that group answers its own user only.
        """
        self._listener = self._listener or self._bind()
        stays: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        self._server = await asyncio.start_unix_server(
            self._answer, sock=self._listener, limit=CONTROL_REQUEST_BYTES_MAX, **stays
        )

    def _bind(self) -> socket.socket:
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
        return listener

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            writer.write(json.dumps(await self._reply(line, _uid(writer))).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError):
            pass  # the client has gone, or sent no line
        finally:
            writer.close()
            if self._leaves:
                self.left.set()

    async def _reply(self, line: bytes, uid: int) -> dict[str, Any]:
        try:
            command = json.loads(line)["command"]
        except (ValueError, KeyError, TypeError):
            return {"error": "A request is one line of JSON with a command."}
        if command == "upgrade" and self.upgrade is not None:
            if uid not in (0, os.geteuid()):
                return {"error": "Only the daemon's own user and root may let it hand over."}
            try:
                return await self.upgrade()
            except GoldherdError as refusal:
                return {"error": str(refusal)}
        if command not in COMMANDS:
            return {"error": f"There is no command {command!r:.60}; there are: {', '.join((*COMMANDS, 'upgrade'))}."}
        if command != "status" and uid not in (0, os.geteuid()):
            return {"error": "Only the user who runs the daemon and root may do that."}
        return COMMANDS[command](self.live) or {} if self.live is not None else {}


def _stop(live: Live) -> dict[str, Any]:
    live.ask_to_stop()
    return {"pid": os.getpid()}


COMMANDS: Final[dict[str, Callable[[Live], dict[str, Any] | None]]] = {
    "status": lambda live: live.status(),
    "drain": lambda live: live.drain(True),
    "undrain": lambda live: live.drain(False),
    "stop": _stop,
}


def _uid(writer: asyncio.StreamWriter) -> int:
    """The user at the other end (SO_PEERCRED, unix(7))."""
    credentials = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])
