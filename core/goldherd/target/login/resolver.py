"""The addresses of DNS names in access rules: looked up beside the logins, remembered for a while.

A look-up may take seconds, so access rules never ask the network themselves: a login says which names its target
needs (UnresolvedError) and waits here for those. Discovery is about the names of all targets, so it takes what is
known and has the others looked up for the next time. Look-ups have threads of their own, one for each name at most:
name servers that don't answer delay other look-ups and nothing else.

While a name server does not answer, the addresses that it gave last stay true for a while (RFC 8767); a name that has
never been resolved has none.
"""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from ipaddress import ip_address
from typing import NamedTuple

import structlog

from goldherd import limits
from goldherd.isolation import DaemonThreads
from goldherd.model.access import Address, UnresolvedError, fold
from goldherd.target.login.neighbours import mac_of

log = structlog.get_logger("goldherd.login")


class _Entry(NamedTuple):
    addresses: frozenset[Address]
    until: float
    """When it is looked up again."""
    found: float
    """When a name server said so."""


def look_up(name: str) -> frozenset[Address]:
    """The addresses of a name, asked of the system; sleeps for seconds perhaps. OSError when it has none."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return frozenset(fold(ip_address(str(place[0]).partition("%")[0])) for *_, place in found)


class Resolver:
    """A bounded memory of names.

    Args:
        clock: seconds, never going back; for tests.
        look_up: asks the system; for tests.
    """

    def __init__(self, clock: Callable[[], float], look_up: Callable[[str], frozenset[Address]] = look_up) -> None:
        self._clock = clock
        self._look_up = look_up
        self._threads = DaemonThreads("resolver", limits.DNS_THREADS, limits.DNS_NAMES_MAX)
        self._under_way: dict[str, Future[frozenset[Address]]] = {}
        """The look-ups that have a thread, or wait for one; some of them were given up."""
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._asked: dict[str, asyncio.Task[None]] = {}

    def addresses_of(self, name: str) -> Collection[Address]:
        """What was found last; UnresolvedError when nothing was, or too long ago."""
        if not self.is_fresh(name):
            raise UnresolvedError([name])
        return self._entries[name].addresses

    def is_fresh(self, name: str) -> bool:
        """Whether a name need not be looked up now."""
        entry = self._entries.get(name)
        return entry is not None and entry.until > self._clock()

    def last_known(self, name: str) -> Collection[Address]:
        """What was found last, however long ago; nothing if nothing was."""
        entry = self._entries.get(name)
        return () if entry is None else entry.addresses

    async def resolve(self, names: Iterable[str]) -> None:
        """Looks names up, side by side, each once however many ask; returns when each has an answer or had its time."""
        await self._wait_for(names, None)

    async def refresh(self, names: Iterable[str]) -> bool:
        """Has names looked up, and waits a moment for those that never were; whether one of these is known now."""
        new = [name for name in names if name not in self._entries]
        self._start(names)
        await self._wait_for(new, limits.DNS_DISCOVERY_SECONDS)
        return any(name in self._entries for name in new)

    async def _wait_for(self, names: Iterable[str], seconds: float | None) -> None:
        self._start(names)
        tasks = [self._asked[name] for name in names if name in self._asked]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    def _start(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._asked:
                task = asyncio.get_running_loop().create_task(self._ask(name))
                self._asked[name] = task
                task.add_done_callback(lambda _, name=name: self._asked.pop(name, None))  # type: ignore[misc]

    async def _ask(self, name: str) -> None:
        try:
            async with asyncio.timeout(limits.DNS_SECONDS):
                addresses = await asyncio.wrap_future(self._asking(name))
        except (OSError, TimeoutError) as failure:
            log.warning("a name in an access rule can't be resolved", name=name, reason=str(failure) or "no answer")
            self._entries[name] = self._without_answer(self._entries.get(name), failure)
        else:
            now = self._clock()
            self._entries[name] = _Entry(addresses, now + limits.DNS_KEPT_SECONDS, now)
        self._entries.move_to_end(name)
        while len(self._entries) > limits.DNS_NAMES_MAX:
            self._entries.popitem(last=False)

    def _asking(self, name: str) -> "Future[frozenset[Address]]":
        """The look-up of a name on a thread. One that was given up and still has its thread is waited for again."""
        under_way = self._under_way.get(name)
        if under_way is not None:
            return under_way
        future: Future[frozenset[Address]] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(self._look_up(name))
                except BaseException as failure:
                    future.set_exception(failure)

        self._under_way[name] = future
        future.add_done_callback(lambda _: self._under_way.pop(name, None))
        if not self._threads.submit(work):
            future.set_exception(TimeoutError("too many names wait for their name servers"))
        return future

    def _without_answer(self, known: _Entry | None, failure: OSError) -> _Entry:
        """A name server that says that there is no such name is believed; one that says nothing changes nothing yet."""
        now = self._clock()
        until = now + limits.DNS_FAILED_SECONDS
        silent = not isinstance(failure, socket.gaierror) or failure.errno == socket.EAI_AGAIN
        if silent and known is not None and now - known.found < limits.DNS_STALE_SECONDS:
            return _Entry(known.addresses, until, known.found)
        return _Entry(frozenset(), until, now)


class NetworkFacts:
    """What access rules ask of the network (access.Facts).

    For one login or one discovery answer: what it found stays true that long.

    Args:
        addresses_of: how a DNS name's addresses are told.
    """

    def __init__(self, addresses_of: Callable[[str], Collection[Address]]) -> None:
        self._addresses_of = addresses_of
        self._macs: dict[Address, str | None] = {}

    def mac_of(self, address: Address) -> str | None:
        """The MAC address of a neighbour; the kernel is asked once, however many rules ask."""
        if address not in self._macs:
            try:
                self._macs[address] = mac_of(address)
            except OSError as failure:  # a service unit that is too strict: other rules may still fit
                log.error("the kernel's neighbour table can't be read, so no MAC address is known", reason=str(failure))
                self._macs[address] = None
        return self._macs[address]

    def addresses_of(self, name: str) -> Collection[Address]:
        """The addresses of a DNS name."""
        return self._addresses_of(name)


class LastKnownFacts(NetworkFacts):
    """The same, with the addresses that were found last, however long ago; may be asked on any thread.

    Args:
        resolver: knows them.
    """

    def __init__(self, resolver: Resolver) -> None:
        super().__init__(self._last_known)
        self._resolver = resolver
        self.outdated: set[str] = set()
        """The names that should be looked up again."""

    def _last_known(self, name: str) -> Collection[Address]:
        if not self._resolver.is_fresh(name):
            self.outdated.add(name)
        return self._resolver.last_known(name)
