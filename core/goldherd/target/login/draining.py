"""Which logins are let in while a server drains: machines that run may come back, and none may begin to boot.

A boot begins with a session of the loader (iPXE, by its ISID), or of firmware that loads without one. A machine that
runs comes back with an operating system's ISID after its network has failed: then it had a session not long ago. A
server that was started a short while ago can't know that, and lets operating systems in.
"""

import time
from collections.abc import Callable

from goldherd import limits
from goldherd.errors import ProtocolError
from goldherd.negotiation.host import LoginResult
from goldherd.negotiation.states import Status
from goldherd.target.sessions import LOADER_ISID, OpenTarget


class Draining:
    """Whether the server drains, and when its targets were last in use.

    Args:
        clock: seconds that only go on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._ended: dict[str, float] = {}
        """By target: when its last session ended."""
        self.on = False

    def note_end(self, target: str) -> None:
        """A session of the target has ended."""
        self._ended.pop(target, None)
        self._ended[target] = self._clock()
        if len(self._ended) > limits.SESSIONS_MAX:
            del self._ended[next(iter(self._ended))]

    def check(self, login: LoginResult, open_target: OpenTarget | None) -> None:
        """Raises ProtocolError (service unavailable, which initiators try again) for the beginning of a boot."""
        if not self.on or login.target is None:
            return
        sessions = open_target.sessions if open_target is not None else ()
        if login.isid.startswith(LOADER_ISID):
            if any(session.by_loader for session in sessions):  # a loader that has lost its connection
                return
        elif sessions or self._clock() - self._ended.get(login.target, self._began) < limits.DRAIN_RETURN_SECONDS:
            return
        raise ProtocolError(
            "The server drains: no machine may begin to boot from it now.",
            login_status=Status.SERVICE_UNAVAILABLE,
        )
