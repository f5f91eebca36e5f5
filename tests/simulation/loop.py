"""An event loop whose clock is a number and whose choices are one seed's.

Nothing sleeps: when nothing can happen at the present time, the clock jumps to the next timer. Whatever would happen
outside of Python (a segment arrives, a job of a disk ends) is asked for, one thing at a time, in place of waiting.
"""

import asyncio
import random
import selectors
import socket
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

Something = Callable[[], bool]
"""Lets one thing happen; False when there is nothing that could."""


class Listens(Protocol):
    """A network to which connections come."""

    def listen(self, accepts: Callable[[], object] | None) -> None:
        """`accepts` is called for each connection from now on; None: for none any more."""
        ...


class _Selector(selectors.SelectSelector):
    """Real descriptors (eventfds of reactors) are looked at, never waited for."""

    loop: "SimulatedLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        loop.check()
        ready = super().select(0)
        if ready:
            loop.chance.shuffle(ready)
            return ready
        waits = timeout is None or timeout > 0
        if (waits or loop.chance.random() < 0.3) and loop.something():
            if timeout and loop.chance.random() < 0.05:
                loop.now += min(timeout, loop.chance.random())
            return []
        assert timeout is not None, "nothing can happen any more"
        loop.now += timeout
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """The loop.

    Args:
        chance: decides.
        something: what can happen outside.
        check: called at every step; raises when something is wrong.
        slow_seconds: how long what is given to threads may take at most.
    """

    def __init__(
        self, chance: random.Random, something: Something, check: Callable[[], None], slow_seconds: float = 3.0
    ) -> None:
        self.now = 0.0
        self.chance, self.something, self.check = chance, something, check
        self.slow_seconds = slow_seconds
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Seconds of the simulation."""
        return self.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, function: Callable[..., Any], *arguments: Any
    ) -> asyncio.Future[Any]:
        """The call happens on this thread, some time later."""
        future: asyncio.Future[Any] = self.create_future()

        def run() -> None:
            try:
                result = function(*arguments)
            except BaseException as failure:
                if not future.done():
                    future.set_exception(failure)
            else:
                if not future.done():
                    future.set_result(result)

        self.call_later(self.chance.random() ** 4 * self.slow_seconds, run)
        return future

    # --- sockets are those of network.py ---

    network: "Listens"

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        """Connections come to a server's listening socket by the simulated network; descriptors are the system's."""
        if isinstance(fd, socket.socket):
            (listener,) = args
            self.network.listen(partial(callback, replace(listener, listening=self.network)))
        else:
            super().add_reader(fd, callback, *args)

    def remove_reader(self, fd: Any) -> bool:
        """The end of that."""
        if isinstance(fd, socket.socket):
            self.network.listen(None)
            return True
        return super().remove_reader(fd)

    async def sock_recv(self, sock: Any, nbytes: int) -> bytes:
        """Bytes that have arrived."""
        return await sock.receive(nbytes)

    async def sock_sendall(self, sock: Any, data: Any) -> None:
        """Never waits: a simulated network has room."""
        sock.send(bytes(data))
