"""Access rules: how they are written, whom they fit, and what a refusal says."""

from collections.abc import Collection
from ipaddress import ip_address

import pytest
from goldherd.model.access import Address, Kind, Peer, Rule, UnresolvedError, admits, difference, peer_address

MAC = "52:54:00:12:34:56"
INITIATOR = "iqn.2026-11.io.goldherd.node:pc-001"


class Network:
    """10.0.0.5 is a neighbour with a card of ours; pc.example.org has two addresses."""

    def mac_of(self, address: Address) -> str | None:
        return MAC if str(address) == "10.0.0.5" else None

    def addresses_of(self, name: str) -> Collection[Address]:
        known = {"pc.example.org": ["10.0.0.5", "2001:db8::5"], "gone.example.org": []}
        if name not in known:
            raise UnresolvedError([name])
        return [ip_address(address) for address in known[name]]


def peer(address: str = "10.0.0.5", initiator: str = INITIATOR) -> Peer:
    return Peer(initiator, ip_address(address), Network())


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (f"initiator:{INITIATOR}", Rule(Kind.INITIATOR, INITIATOR)),
        ("initiator:IQN.2026-11.x:Y", Rule(Kind.INITIATOR, "iqn.2026-11.x:y")),
        ("net:10.0.0.5", Rule(Kind.NETWORK, "10.0.0.5/32")),
        ("net:10.1.0.0/16", Rule(Kind.NETWORK, "10.1.0.0/16")),
        ("net:2001:db8::/32", Rule(Kind.NETWORK, "2001:db8::/32")),
        ("net:2001:DB8::5", Rule(Kind.NETWORK, "2001:db8::5/128")),
        ("mac:52-54-00-12-34-56", Rule(Kind.MAC, MAC)),
        ("mac:node", Rule(Kind.MAC, "node")),
        ("dns:PC.example.org.", Rule(Kind.DNS, "pc.example.org")),
        ("dns:pc-1", Rule(Kind.DNS, "pc-1")),
    ],
)
def test_rule_is_read_and_written(text: str, rule: Rule) -> None:
    assert Rule.parse(text) == rule
    assert Rule.parse(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no access rule"),
        ("10.0.0.5", "no access rule"),
        ("host:pc", "no access rule"),
        ("net:", "no access rule"),
        ("initiator:pc-1", "not an initiator's name"),
        ("net:10.1.2.3/16", "neither an address nor a network"),
        ("net:10.1.0.0/33", "neither an address nor a network"),
        ("net:pc.example.org", "neither an address nor a network"),
        ("mac:52:54:00:12:34", "not a MAC address"),
        ("mac:01:00:5e:00:00:01", "group address"),
        ("dns:-pc", "not a host name"),
        ("dns:a b", "not a host name"),
        ("dns:" + "a" * 64, "not a host name"),
    ],
)
def test_broken_rule_is_refused_in_one_sentence(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rule.parse(text)


@pytest.mark.parametrize(
    ("text", "who", "fits"),
    [
        (f"initiator:{INITIATOR}", peer(), True),
        (f"initiator:{INITIATOR}", peer(initiator=f"{INITIATOR}x"), False),
        ("net:10.0.0.0/24", peer(), True),
        ("net:10.0.0.0/24", peer("10.0.1.5"), False),
        ("net:10.0.0.0/24", peer("::a00:5"), False),
        ("net:2001:db8::/32", peer("2001:db8:7::1"), True),
        ("net:2001:db8::/32", peer(), False),
        ("net:0.0.0.0/0", peer(), True),
        (f"mac:{MAC}", peer(), True),
        (f"mac:{MAC}", peer("10.0.0.6"), False),
        ("dns:pc.example.org", peer(), True),
        ("dns:pc.example.org", peer("2001:db8::5"), True),
        ("dns:pc.example.org", peer("10.0.0.6"), False),
        ("dns:gone.example.org", peer(), False),
    ],
)
def test_whom_a_rule_fits(text: str, who: Peer, fits: bool) -> None:
    assert admits([Rule.parse(text)], who) is fits


def test_one_rule_that_fits_admits() -> None:
    rules = [Rule.parse("net:192.0.2.0/24"), Rule.parse(f"mac:{MAC}")]
    assert admits(rules, peer())
    assert not admits(rules, peer("10.0.0.6"))
    assert not admits([], peer())


def test_names_are_looked_up_only_when_nothing_else_admits() -> None:
    unknown = [Rule.parse("dns:a.example.org"), Rule.parse("dns:b.example.org")]
    assert admits([*unknown, Rule.parse("net:10.0.0.0/8")], peer())
    with pytest.raises(UnresolvedError) as question:
        admits(unknown, peer())
    assert question.value.names == {"a.example.org", "b.example.org"}  # all at once


def test_no_address_is_admitted_by_name_only() -> None:
    nowhere = Peer(INITIATOR, None, Network())
    assert admits([Rule.parse(f"initiator:{INITIATOR}")], nowhere)
    assert not any(
        admits([Rule.parse(text)], nowhere) for text in ("net:0.0.0.0/0", f"mac:{MAC}", "dns:pc.example.org")
    )


def test_refusal_says_what_differs() -> None:
    rules = ["net:10.1.0.0/16", f"mac:{MAC}", "dns:pc.example.org", "dns:gone.example.org", "dns:new.example.org"]
    assert difference(map(Rule.parse, rules), peer("10.0.0.6")) == (
        f"initiator {INITIATOR}, address 10.0.0.6, MAC not known: it is no neighbour; admitted is "
        "dns:gone.example.org (no address) or dns:new.example.org (not looked up) or "
        f"dns:pc.example.org (10.0.0.5, 2001:db8::5) or mac:{MAC} or net:10.1.0.0/16"
    )
    assert difference([], peer()).endswith("admitted is nobody")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.5:3260", "10.0.0.5"),
        ("[2001:db8::1]:3260", "2001:db8::1"),
        ("[fe80::1%eth0]:3260", "fe80::1"),
        ("[::ffff:10.0.0.5]:3260", "10.0.0.5"),
    ],
)
def test_address_of_a_connection(text: str, address: str) -> None:
    assert peer_address(text) == ip_address(address)


def test_what_is_no_address_is_none() -> None:
    assert peer_address("somewhere:1") is None
