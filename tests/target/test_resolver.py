"""Names in access rules: looked up once for many, remembered, bounded, and never longer than a login can wait."""

import asyncio
import resource
from ipaddress import ip_address
from typing import Any

import pytest
from goldherd import limits
from goldherd.model.access import Peer, Rule, UnresolvedError, admits
from goldherd.target.resolver import LastKnownFacts, NetworkFacts, Resolver


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


def test_many_who_ask_at_once_make_one_look_up(resolver: Resolver) -> None:
    asked = []

    async def all_at_once() -> None:
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo

        async def count(name: str, *rest: Any, **more: Any) -> Any:
            asked.append(name)
            return await real(name, *rest, **more)

        loop.getaddrinfo = count  # type: ignore[assignment,method-assign]
        await asyncio.gather(*(resolver.resolve(["localhost"]) for _ in range(50)))

    asyncio.run(all_at_once())
    assert asked == ["localhost"]


def test_a_name_server_that_is_silent_is_given_up(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DNS_SECONDS", 0.05)

    async def with_silence() -> None:
        async def silent(*_: Any, **__: Any) -> Any:
            await asyncio.sleep(60)

        asyncio.get_running_loop().getaddrinfo = silent  # type: ignore[assignment,method-assign]
        await resolver.resolve(["slow.example.org"])

    asyncio.run(with_silence())
    assert list(resolver.addresses_of("slow.example.org")) == []


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


async def silent(*_: Any, **__: Any) -> Any:
    await asyncio.sleep(60)


def test_a_name_server_that_falls_silent_changes_nothing_yet(
    resolver: Resolver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DNS_SECONDS", 0.05)
    asyncio.run(resolver.resolve(["localhost"]))

    async def ask_silence() -> None:
        asyncio.get_running_loop().getaddrinfo = silent  # type: ignore[assignment,method-assign]
        await resolver.resolve(["localhost"])

    clock.now += limits.DNS_KEPT_SECONDS + 1
    asyncio.run(ask_silence())
    assert ip_address("127.0.0.1") in resolver.addresses_of("localhost")
    clock.now += limits.DNS_STALE_SECONDS
    asyncio.run(ask_silence())
    assert list(resolver.addresses_of("localhost")) == []


def test_discovery_waits_a_moment_for_a_new_name_and_for_no_other(
    resolver: Resolver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DNS_DISCOVERY_SECONDS", 0.05)

    async def ask() -> None:
        assert await resolver.refresh(["localhost"]), "a name server that answers is waited for"
        loop = asyncio.get_running_loop()
        loop.getaddrinfo = silent  # type: ignore[assignment,method-assign]
        assert not await resolver.refresh(["slow.example.org"])
        clock.now += limits.DNS_KEPT_SECONDS + 1
        monkeypatch.setattr(limits, "DNS_DISCOVERY_SECONDS", 3600.0)
        assert not await resolver.refresh(["localhost"]), "a name that is known is looked up beside"
        facts = LastKnownFacts(resolver)
        assert ip_address("127.0.0.1") in facts.addresses_of("localhost")
        assert not facts.addresses_of("slow.example.org")
        assert facts.outdated == {"localhost", "slow.example.org"}

    asyncio.run(ask())
