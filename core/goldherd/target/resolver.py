"""The addresses of DNS names in access rules: looked up beside the logins, remembered for a while.

A look-up may take seconds, so a login never asks the network itself: it says which names it needs (UnresolvedError),
waits here for them, and begins anew. A name that can't be resolved has no addresses for a shorter while.
"""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from ipaddress import ip_address
from typing import NamedTuple

import structlog

from goldherd import limits
from goldherd.model.access import Address, UnresolvedError, fold
from goldherd.target.neighbours import mac_of

log = structlog.get_logger("goldherd.login")


class _Entry(NamedTuple):
    addresses: frozenset[Address]
    until: float


class Resolver:
    """A bounded memory of names.

    Args:
        clock: seconds, never going back; for tests.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._asked: dict[str, asyncio.Task[None]] = {}

    def addresses_of(self, name: str) -> Collection[Address]:
        """What was found last; UnresolvedError when nothing was, or too long ago."""
        entry = self._entries.get(name)
        if entry is None or entry.until <= self._clock():
            raise UnresolvedError([name])
        return entry.addresses

    def last_known(self, name: str) -> Collection[Address]:
        """What was found last, however long ago; nothing if nothing was."""
        entry = self._entries.get(name)
        return () if entry is None else entry.addresses

    async def resolve(self, names: Iterable[str]) -> None:
        """Looks names up, side by side, each once however many ask; returns when each has an answer or had its time."""
        for name in names:
            if name not in self._asked:
                task = asyncio.get_running_loop().create_task(self._ask(name))
                self._asked[name] = task
                task.add_done_callback(lambda _, name=name: self._asked.pop(name, None))  # type: ignore[misc]
        tasks = [self._asked[name] for name in names if name in self._asked]
        if tasks:
            await asyncio.wait(tasks)

    async def _ask(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        seconds: float = limits.DNS_KEPT_SECONDS
        try:
            async with asyncio.timeout(limits.DNS_SECONDS):
                found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            addresses = frozenset(fold(ip_address(str(place[0]).partition("%")[0])) for *_, place in found)
        except (OSError, TimeoutError) as failure:
            log.warning("a name in an access rule can't be resolved", name=name, reason=str(failure) or "no answer")
            addresses, seconds = frozenset(), limits.DNS_FAILED_SECONDS
        self._entries[name] = _Entry(addresses, self._clock() + seconds)
        self._entries.move_to_end(name)
        while len(self._entries) > limits.DNS_NAMES_MAX:
            self._entries.popitem(last=False)


class NetworkFacts:
    """What access rules ask of the network (access.Facts).

    Args:
        addresses_of: how a DNS name's addresses are told.
    """

    def __init__(self, addresses_of: Callable[[str], Collection[Address]]) -> None:
        self._addresses_of = addresses_of

    def mac_of(self, address: Address) -> str | None:
        """The MAC address of a neighbour."""
        try:
            return mac_of(address)
        except OSError as failure:  # a service unit that is too strict: other rules may still fit
            log.error("the kernel's neighbour table can't be read, so no MAC address is known", reason=str(failure))
            return None

    def addresses_of(self, name: str) -> Collection[Address]:
        """The addresses of a DNS name."""
        return self._addresses_of(name)
