"""Addresses as initiators get to see them (RFC 7143 13.8)."""

import pytest
from goldherd.session.portal import Portal


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
