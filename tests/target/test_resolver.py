"""Names in access rules: looked up once for many, remembered, bounded, and never longer than a login can wait."""

import asyncio
import resource
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from goldherd import limits
from goldherd.model.access import Address, Peer, Rule, UnresolvedError, admits
from goldherd.target.login.resolver import LastKnownFacts, NetworkFacts, Resolver, look_up


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def resolver(clock: Clock) -> Resolver:
    return Resolver(clock)


def test_a_name_that_nobody_looked_up_is_a_question(resolver: Resolver) -> None:
    with pytest.raises(UnresolvedError):
        resolver.addresses_of("localhost")
    assert list(resolver.last_known("localhost")) == []


def test_addresses_are_remembered_for_a_while(resolver: Resolver, clock: Clock) -> None:
    asyncio.run(resolver.resolve(["localhost"]))
    assert ip_address("127.0.0.1") in resolver.addresses_of("localhost")
    clock.now += limits.DNS_KEPT_SECONDS + 1
    with pytest.raises(UnresolvedError):
        resolver.addresses_of("localhost")
    assert ip_address("127.0.0.1") in resolver.last_known("localhost")


def test_a_name_without_address_is_asked_again_sooner(resolver: Resolver, clock: Clock) -> None:
    asyncio.run(resolver.resolve(["nobody.invalid"]))
    assert list(resolver.addresses_of("nobody.invalid")) == []
    clock.now += limits.DNS_FAILED_SECONDS + 1
    with pytest.raises(UnresolvedError):
        resolver.addresses_of("nobody.invalid")


def test_many_who_ask_at_once_make_one_look_up(clock: Clock) -> None:
    asked = []

    def count(name: str) -> frozenset[Address]:
        asked.append(name)
        return look_up(name)

    async def all_at_once() -> None:
        resolver = Resolver(clock, count)
        await asyncio.gather(*(resolver.resolve(["localhost"]) for _ in range(50)))

    asyncio.run(all_at_once())
    assert asked == ["localhost"]


class SilentServers:
    """Name servers that answer for the names of this machine, and for others when the test ends."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.silent = False
        self.ended = threading.Event()

    def look_up(self, name: str) -> frozenset[Address]:
        self.asked.append(name)
        if self.silent or name != "localhost":
            self.ended.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return frozenset({ip_address("127.0.0.1")})


@pytest.fixture
def servers() -> Iterator[SilentServers]:
    found = SilentServers()
    yield found
    found.ended.set()


def test_a_name_server_that_is_silent_is_given_up(
    clock: Clock, servers: SilentServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DNS_SECONDS", 0.05)
    resolver = Resolver(clock, servers.look_up)
    asyncio.run(resolver.resolve(["slow.example.org"]))
    assert list(resolver.addresses_of("slow.example.org")) == []


def test_a_silent_name_server_holds_one_thread_however_often_it_is_asked(
    clock: Clock, servers: SilentServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DNS_SECONDS", 0.02)
    resolver = Resolver(clock, servers.look_up)
    for _ in range(5):
        asyncio.run(resolver.resolve(["slow.example.org"]))
        clock.now += limits.DNS_FAILED_SECONDS + 1
    assert servers.asked == ["slow.example.org"]


def test_names_that_find_no_thread_are_given_up_too(
    clock: Clock, servers: SilentServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DNS_SECONDS", 0.05)
    monkeypatch.setattr(limits, "DNS_THREADS", 2)
    monkeypatch.setattr(limits, "DNS_NAMES_MAX", 3)
    resolver = Resolver(clock, servers.look_up)
    names = [f"host{number}.example.org" for number in range(10)]
    asyncio.run(resolver.resolve(names))
    assert sorted(servers.asked) == ["host0.example.org", "host1.example.org"]
    assert not any(resolver.last_known(name) for name in names)


def test_only_so_many_names_are_remembered(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DNS_NAMES_MAX", 3)
    asyncio.run(resolver.resolve([f"127.0.0.{number}" for number in range(1, 6)]))
    known = [number for number in range(1, 6) if resolver.last_known(f"127.0.0.{number}")]
    assert len(known) == 3


def test_a_neighbour_table_that_cannot_be_read_admits_by_the_other_rules(resolver: Resolver) -> None:
    """Here no descriptor is free; a service unit that is too strict does the same."""
    facts = NetworkFacts(resolver.addresses_of)
    peer = Peer("iqn.2020-01.com.example:a", ip_address("192.0.2.7"), facts)
    rules = [Rule.parse("mac:52:54:00:12:34:56"), Rule.parse("net:192.0.2.0/24")]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert facts.mac_of(ip_address("192.0.2.7")) is None
        assert admits(rules, peer)
        assert not admits(rules[:1], peer)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_name_server_that_falls_silent_changes_nothing_yet(
    clock: Clock, servers: SilentServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DNS_SECONDS", 0.05)
    resolver = Resolver(clock, servers.look_up)
    asyncio.run(resolver.resolve(["localhost"]))

    async def ask_silence() -> None:
        servers.silent = True
        await resolver.resolve(["localhost"])

    clock.now += limits.DNS_KEPT_SECONDS + 1
    asyncio.run(ask_silence())
    assert ip_address("127.0.0.1") in resolver.addresses_of("localhost")
    clock.now += limits.DNS_STALE_SECONDS
    asyncio.run(ask_silence())
    assert list(resolver.addresses_of("localhost")) == []


def test_discovery_waits_a_moment_for_a_new_name_and_for_no_other(
    clock: Clock, servers: SilentServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(clock, servers.look_up)

    async def ask() -> None:
        monkeypatch.setattr(limits, "DNS_DISCOVERY_SECONDS", 3600.0)
        assert await resolver.refresh(["localhost"]), "a name server that answers is waited for"
        servers.silent = True
        monkeypatch.setattr(limits, "DNS_DISCOVERY_SECONDS", 0.05)
        assert not await resolver.refresh(["slow.example.org"])
        clock.now += limits.DNS_KEPT_SECONDS + 1
        monkeypatch.setattr(limits, "DNS_DISCOVERY_SECONDS", 3600.0)
        assert not await resolver.refresh(["localhost"]), "a name that is known is looked up beside"
        facts = LastKnownFacts(resolver)
        assert ip_address("127.0.0.1") in facts.addresses_of("localhost")
        assert not facts.addresses_of("slow.example.org")
        assert facts.outdated == {"localhost", "slow.example.org"}

    asyncio.run(ask())
