"""Access rules: who may log in to a target and see it, by what it is called or where it comes from.

One rule that fits admits, as in Microsoft's target, whose five kinds of identifier these are: an initiator's iSCSI
name, an address or network of IPv4 or IPv6, a MAC address, a DNS name. Rules by name say who somebody claims to be and
rules by place where somebody stands; only CHAP proves anything.

Pure: what must be asked of the network (which MAC an address has, which addresses a name) is asked through `Facts`.
"""

import enum
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Protocol

from goldherd import limits
from goldherd.errors import GoldherdError, ProtocolError
from goldherd.model.iscsi_names import normalise

Address = IPv4Address | IPv6Address
_MAC: Final = re.compile(
    r"[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}|[0-9a-f]{12}|(?:[0-9a-f]{4}\.){2}[0-9a-f]{4}"
)
_HOST: Final = re.compile(r"(?=.{1,253}$)(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*")


class Kind(enum.StrEnum):
    """What a rule looks at."""

    INITIATOR = "initiator"
    NETWORK = "net"
    MAC = "mac"
    DNS = "dns"


OWN: Final = "node"
"""The value of a MAC rule that means the network cards in the node's own record."""


class UnresolvedError(GoldherdError):
    """DNS names must be looked up before it can be said whether somebody is admitted."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__(f"Nobody has looked up {', '.join(sorted(names))} yet.")
        self.names = frozenset(names)


class Facts(Protocol):
    """What the network knows of a peer. Both calls are quick."""

    def mac_of(self, address: Address) -> str | None:
        """The MAC address of a neighbour, small letters and colons; None of who is none, or not known."""
        ...

    def addresses_of(self, name: str) -> Collection[Address]:
        """The addresses of a DNS name as last looked up. Raises UnresolvedError when that is too long ago."""
        ...


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody who wants to log in."""

    initiator: str
    """Its normalised iSCSI name; not proved."""
    address: Address | None
    """Where its connection comes from."""
    facts: Facts


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """One access rule; its text is `kind:value`."""

    kind: Kind
    value: str

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """Reads initiator:NAME, net:ADDRESS or net:NETWORK, mac:ADDRESS, mac:node, dns:NAME.

        Raises: ValueError with a sentence that says what is wrong.
        """
        word, colon, value = text.partition(":")
        if not colon or word not in list(Kind) or not value:
            raise ValueError(
                f"'{text}' is no access rule: write initiator:NAME, net:10.0.0.0/8, mac:52:54:00:12:34:56, mac:node "
                "or dns:HOST"
            )
        return cls(Kind(word), _VALUES[Kind(word)](value))

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"

    def fits(self, peer: Peer) -> bool:
        """Whether it admits that peer."""
        return _FITS[self.kind](self.value, peer)


def admits(rules: Iterable[Rule], peer: Peer) -> bool:
    """Whether one of the rules fits. UnresolvedError, with all names at once, when only look-ups can tell."""
    unresolved: set[str] = set()
    for rule in rules:
        try:
            if rule.fits(peer):
                return True
        except UnresolvedError as question:
            unresolved |= question.names
    if unresolved:
        raise UnresolvedError(unresolved)
    return False


def difference(rules: Iterable[Rule], peer: Peer) -> str:
    """What exactly did not fit, for the log; never for the peer."""
    listed = sorted(rules)
    facts = [f"address {peer.address}"]
    if any(rule.kind is Kind.MAC for rule in listed) and peer.address is not None:
        facts.append(f"MAC {peer.facts.mac_of(peer.address) or 'not known: it is no neighbour'}")
    wanted = [f"{rule} ({_resolved(rule, peer)})" if rule.kind is Kind.DNS else str(rule) for rule in listed]
    return f"initiator {peer.initiator}, {', '.join(facts)}; admitted is {' or '.join(wanted) or 'nobody'}"


def _resolved(rule: Rule, peer: Peer) -> str:
    try:
        return ", ".join(map(str, peer.facts.addresses_of(rule.value))) or "no address"
    except UnresolvedError:
        return "not looked up"


def peer_address(text: str) -> Address | None:
    """The address in "host:port" or "[host]:port"; without zone, and IPv4 on an IPv6 socket as IPv4."""
    return _host_address(text.rpartition(":")[0])


@lru_cache(limits.ADDRESSES_READ_MAX)
def _host_address(host: str) -> Address | None:
    try:
        return fold(ip_address(host.strip("[]").partition("%")[0]))
    except ValueError:
        return None


def fold(address: Address) -> Address:
    """An IPv4 address that is written as an IPv6 one, as IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def normalise_mac(text: str) -> str:
    """Six pairs of small hexadecimal digits with colons; ValueError with a sentence for what is no card's address."""
    if not _MAC.fullmatch(text.lower()):
        raise ValueError(f"'{text}' is not a MAC address: write six pairs such as 52:54:00:12:34:56")
    digits = re.sub(r"[^0-9a-f]", "", text.lower())
    if int(digits[:2], 16) & 1:
        raise ValueError(f"'{text}' is a group address: a network card has one of its own; check the digits")
    if not int(digits, 16):
        raise ValueError(f"'{text}' is no card's address: it is what firmware shows that could not read its own")
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def _initiator(text: str) -> str:
    try:
        return normalise(text)
    except ProtocolError as refusal:
        raise ValueError(f"'{text}' is not an initiator's name ({str(refusal).rstrip('.')})") from None


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"'{text}' is neither an address nor a network ({error}): write 10.1.0.0/16") from None


def _mac(text: str) -> str:
    return OWN if text == OWN else normalise_mac(text)


def _dns(text: str) -> str:
    folded = text.lower().rstrip(".")
    if not _HOST.fullmatch(folded):
        raise ValueError(f"'{text}' is not a host name")
    return folded


_VALUES: Final[Mapping[Kind, Callable[[str], str]]] = {
    Kind.INITIATOR: _initiator,
    Kind.NETWORK: _network,
    Kind.MAC: _mac,
    Kind.DNS: _dns,
}
_FITS: Final[Mapping[Kind, Callable[[str, Peer], bool]]] = {
    Kind.INITIATOR: lambda value, peer: peer.initiator == value,
    Kind.NETWORK: lambda value, peer: peer.address is not None and peer.address in ip_network(value),
    Kind.MAC: lambda value, peer: peer.address is not None and peer.facts.mac_of(peer.address) == value,
    Kind.DNS: lambda value, peer: peer.address in peer.facts.addresses_of(value),
}
