"""A portal: an address that initiators reach us by, and its portal group (RFC 7143 4.2.7, 13.8)."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from goldherd import limits


@dataclass(frozen=True, slots=True)
class Portal:
    """One address to be reached by.

    `host` is an address or a name without brackets; for a socket bound to a wildcard, take `reached_by`.
    """

    host: str
    port: int
    tag: int = 1
    """Target portal group tag; portals with one tag can carry connections of one session."""

    @classmethod
    def reached_by(cls, local_address: tuple[str, int], tag: int = 1) -> "Portal":
        """The portal as one client sees it: from the local address (getsockname) of its connection.

        A socket bound to 0.0.0.0 or :: has no address of its own to announce; the one that the client used is
        one that it can reach. Zones (fe80::1%eth0) mean nothing to others, and IPv4 on an IPv6 socket is
        shown as IPv4.
        """
        return cls(_unmapped(local_address[0]), local_address[1], tag)

    def __str__(self) -> str:
        """host:port, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The host as an address; None when it is a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def target_address(self) -> str:
        """The value of a TargetAddress key, host:port,tag (RFC 7143 13.8); iPXE can't do without the port."""
        return f"{self},{self.tag}"


@lru_cache(limits.ADDRESSES_READ_MAX)
def _unmapped(host: str) -> str:
    """An address without its zone; IPv4 on an IPv6 socket as IPv4."""
    host = host.partition("%")[0]
    address = ip_address(host)
    return str(address.ipv4_mapped) if isinstance(address, IPv6Address) and address.ipv4_mapped else host


def _reaches(here: IPv4Address | IPv6Address, address: IPv4Address | IPv6Address) -> bool:
    """Whether who reached us by one address may reach us by the other, as far as their kinds tell."""
    return all(getattr(here, kind) or not getattr(address, kind) for kind in ("is_loopback", "is_link_local"))


def announced(reached: Portal, listening: Iterable[Portal]) -> list[Portal]:
    """The portals to tell a client of: the one it used, then all others that it can be expected to reach.

    A wildcard stands for the address that the client used, if that is of its family. Loopback and link-local addresses
    are told to those only who came by one.
    """
    found = [reached]
    here = reached.address
    for portal in listening:
        address = portal.address
        if address is not None and address.is_unspecified:
            if here is None or here.version != address.version:
                continue
            portal = Portal(reached.host, portal.port, portal.tag)
        elif address is not None and here is not None and not _reaches(here, address):
            continue
        if (portal.host, portal.port) not in [(other.host, other.port) for other in found]:
            found.append(portal)
    return found
