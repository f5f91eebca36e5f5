"""Addresses as initiators get to see them (RFC 7143 13.8)."""

import pytest
from goldherd.model.portals import Portal, announced


@pytest.mark.parametrize(
    ("local", "address"),
    [
        (("192.0.2.1", 3260), "192.0.2.1:3260,1"),
        (("2001:db8::1", 3260, 0, 0), "[2001:db8::1]:3260,1"),
        (("fe80::1%eth0", 3260, 0, 2), "[fe80::1]:3260,1"),
        (("::ffff:192.0.2.1", 3260, 0, 0), "192.0.2.1:3260,1"),
    ],
)
def test_address_the_client_reached_us_by(local, address):
    assert Portal.reached_by(local).target_address == address


def test_announced_name_and_tag():
    portal = Portal("boot.example.org", 3261, tag=2)
    assert (str(portal), portal.target_address) == ("boot.example.org:3261", "boot.example.org:3261,2")


LAN, OTHER, LOOP = Portal("10.0.0.1", 3260), Portal("10.0.1.1", 3260, 2), Portal("127.0.0.1", 3260, 3)
LAN_6, LINK = Portal("2001:db8::1", 3260, 4), Portal("fe80::1", 3260, 5)
NAMED = Portal("san.example.org", 13260, 6)


@pytest.mark.parametrize(
    ("reached", "listening", "told"),
    [
        (LAN, [LAN], [LAN]),
        (OTHER, [LAN, OTHER], [OTHER, LAN]),
        (LAN, [LAN, OTHER, LOOP], [LAN, OTHER]),
        (LOOP, [LAN, LOOP], [LOOP, LAN]),
        (LAN, [LAN, LINK, LAN_6], [LAN, LAN_6]),
        (LINK, [LAN_6, LINK], [LINK, LAN_6]),
        (LAN, [Portal("0.0.0.0", 3260)], [LAN]),
        (LAN, [Portal("0.0.0.0", 3260), Portal("0.0.0.0", 3261, 2)], [LAN, Portal("10.0.0.1", 3261, 2)]),
        (LAN, [Portal("0.0.0.0", 3260), Portal("::", 3260, 2)], [LAN]),
        (LAN, [LAN, NAMED], [LAN, NAMED]),
        (NAMED, [NAMED, Portal("0.0.0.0", 3260)], [NAMED]),
    ],
)
def test_portals_that_a_client_is_told_of(reached, listening, told):
    """The one it used first; no wildcard, and nothing that only we can reach."""
    assert announced(reached, listening) == told
