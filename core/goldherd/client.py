"""The one way in which a face asks for an operation, whether or not a daemon runs.

A `Client` takes requests (services/requests.py) and gives answers; where the operation is done is its transport's
business. `Local` does it in this process. What is live, a transport asks of the daemon, over the unix socket in the
data folder: one line of JSON there, one line back.
"""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from goldherd.environment import control_socket
from goldherd.errors import ErrorKind, GoldherdError
from goldherd.limits import CONTROL_REPLY_BYTES_MAX, CONTROL_SECONDS_MAX, HANDOVER_SECONDS_MAX
from goldherd.model.images import Formats
from goldherd.model.progress import Progress, silent
from goldherd.services import operations
from goldherd.services.requests import Answer, Request


class Transport(Protocol):
    """Where operations are done."""

    def ask(self, operation: str, request: Request[Answer], progress: Progress) -> Answer:
        """Has an operation of the table done; GoldherdError with its kind when it is refused."""
        ...

    def close(self) -> None:
        """Lets go of what it holds."""
        ...


class Client:
    """Asks for operations.

    Args:
        transport: where they are done; closed with the client.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def ask(self, request: Request[Answer], progress: Progress = silent) -> Answer:
        """The answer of the operation that the request belongs to.

        Raises GoldherdError with its kind, the things it is about and the reason.
        """
        return self._transport.ask(operations.BY_REQUEST[type(request)].name, request, progress)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()


class Local:
    """Does operations in this process, on the data folder itself; a daemon may serve it at the same time.

    Args:
        data: the data folder.
        formats: finds the image formats; called once, by the first operation that needs one.
        prefix: what stands before ":NODE" in a target's name.
    """

    def __init__(self, data: Path, formats: Callable[[], Formats], prefix: str) -> None:
        from goldherd.services.context import Services

        self._services = Services(data, formats, prefix, live=Daemon(control_socket(data)))

    def ask(self, operation: str, request: Request[Answer], progress: Progress) -> Answer:
        """Does the operation."""
        return operations.run(self._services, operation, request, progress)

    def close(self) -> None:
        """Lets go of the database."""
        self._services.close()


class Daemon:
    """The daemon of a data folder as another process sees it (model.live.Live).

    Args:
        path: its control socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def status(self) -> dict[str, Any] | None:
        """What the daemon says of itself; None when no daemon is running.

        Raises GoldherdError when it runs but gives no sensible answer, of kind NOT_PERMITTED when it may not be asked.
        """
        return self._ask("status")

    def upgrade(self) -> dict[str, Any] | None:
        """Lets the daemon hand over to a new process; None when no daemon is running.

        Raises GoldherdError with the reason when the daemon goes on instead.
        """
        return self._ask("upgrade", HANDOVER_SECONDS_MAX)

    def drain(self, on: bool) -> dict[str, Any] | None:
        """The status after it has begun or ended to drain; None when no daemon is running. Raises as status()."""
        return self._ask("drain" if on else "undrain")

    def ask_to_stop(self) -> None:
        """Has it end; it may still run when this returns. Raises as status()."""
        self._ask("stop")

    def _ask(self, command: str, seconds: float = CONTROL_SECONDS_MAX) -> dict[str, Any] | None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(seconds)
                connection.connect(str(self._path))
                connection.sendall(json.dumps({"command": command}).encode() + b"\n")
                with connection.makefile("rb") as stream:
                    line = stream.readline(CONTROL_REPLY_BYTES_MAX)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except PermissionError as error:
            raise GoldherdError(
                f"The daemon at {self._path} tells only its own user and the group of the data folder what it does: "
                "ask as one of these.",
                kind=ErrorKind.NOT_PERMITTED,
            ) from error
        except OSError as error:
            raise GoldherdError(f"The daemon at {self._path} does not answer ({error}): look into its log.") from error
        try:
            reply = json.loads(line)
        except ValueError as error:
            raise self._senseless() from error
        if not isinstance(reply, dict):
            raise self._senseless()
        if "error" in reply:
            raise GoldherdError(f"The daemon refused '{command}': {reply['error']}")
        return reply

    def _senseless(self) -> GoldherdError:
        return GoldherdError(f"The daemon at {self._path} gave no sensible answer: look into its log.")
