"""Drains: asks reactors something, to finish or to end work mostly, and waits for all of them."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from goldherd.reactor.epoll import Reactor


class Drains:
    """Asks reactors to finish or end work, and waits for all of them."""

    def __init__(self, reactors: Sequence[Reactor]) -> None:
        self.reactors = reactors
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    def done(self, request_id: int, answer: object) -> None:
        """A reactor has reported."""
        future = self._waiting.pop(request_id, None)
        if future is not None and not future.done():
            future.set_result(answer)

    async def _answer(self, what: Callable[[int], None]) -> Any:
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        what(number)
        return await future

    async def ask(self, what: Callable[[int], None]) -> int:
        """Lets `what` post a message with the number of a request to a reactor; how many tasks it ended."""
        found: int = await self._answer(what)
        return found

    async def numbers(self, reactor: Reactor, session_id: int) -> tuple[int, int] | None:
        """ExpCmdSN and MaxCmdSN of a session that a connection is about to join; None when it has ended."""
        found: tuple[int, int] | None = await self._answer(partial(_expect, reactor, session_id))
        return found

    async def ask_all(self, what: Callable[[Reactor, int], None]) -> int:
        """The same with every reactor; `what` gets the reactor too."""

        asked = (self.ask(partial(what, reactor)) for reactor in self.reactors)
        return sum(await asyncio.gather(*asked))


def _expect(reactor: Reactor, session_id: int, request_id: int) -> None:
    reactor.expect_connection(request_id, session_id)
