"""Keeps the system from shutting down or going to sleep while nodes run from here (systemd-inhibit(1)).

A child process holds the lock of systemd-logind and ends with the daemon: it reads from a pipe that closes then.
Where there is no logind, or where it refuses, nothing is held: a line of the log says so, once.
"""

import asyncio
import os
import shutil
from collections.abc import Callable
from typing import Final

import structlog

from goldherd.limits import INHIBIT_SECONDS

log = structlog.get_logger("goldherd")

PROGRAM: Final = "systemd-inhibit"


class Inhibitor:
    """Holds the lock while it is told to.

    Args:
        mode: "block": the system refuses to shut down; "delay": it waits some seconds; "no": nothing is held.
        program: takes the options of systemd-inhibit; None when this system has none.
    """

    def __init__(self, mode: str, program: str | None = None) -> None:
        self._mode = mode
        self._program = program or shutil.which(PROGRAM)
        self._holder: asyncio.subprocess.Process | None = None

    async def follow(self, running: Callable[[], int]) -> None:
        """Looks every few seconds whether nodes run, until it is cancelled or the system has refused."""
        if self._mode == "no" or self._program is None:
            log.debug("nothing keeps the system from shutting down while nodes run", mode=self._mode)
            return
        try:
            while await self._agree(running()):
                await asyncio.sleep(INHIBIT_SECONDS)
        finally:
            self._let_go()

    async def _agree(self, nodes: int) -> bool:
        """Holds the lock or lets it go, as the number of running nodes asks for; False when the system refuses."""
        holder = self._holder
        if holder is not None and holder.returncode is not None:
            said = (await holder.stderr.read()).decode(errors="replace") if holder.stderr is not None else ""
            log.debug("the system can't be kept from shutting down", reason=" ".join(said.split()) or "no reason given")
            return False
        if nodes and holder is None:
            await self._hold(nodes)
        elif not nodes and holder is not None:
            self._let_go()
        return True

    async def _hold(self, nodes: int) -> None:
        assert self._program is not None
        why = f"{nodes} node{'s' if nodes > 1 else ''} or more run from this machine's disks"
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                self._program,
                "--what=shutdown:sleep",
                "--who=goldherd",
                f"--why={why}",
                f"--mode={self._mode}",
                "cat",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                # What this program would tell the supervisor is not of the daemon.
                env={name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"},
            )
        )
        try:
            self._holder = await asyncio.shield(starting)
        except asyncio.CancelledError:  # the child may hold the lock already
            self._holder = await starting
            raise

    def _let_go(self) -> None:
        """The child reads the end of its input, and ends."""
        if self._holder is not None and self._holder.stdin is not None:
            self._holder.stdin.close()
        self._holder = None
