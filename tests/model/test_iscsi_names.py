"""iSCSI names (RFC 7143 4.2.7, RFC 3722)."""

import pytest
from goldherd.errors import ProtocolError
from goldherd.model.iscsi_names import normalise
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "name",
    [
        "iqn.2026-11.io.goldherd:export",
        "iqn.2026-11.io.goldherd.node:pc-001",
        "iqn.1993-08.org.debian:01:abcdef",
        "iqn.1991-05.com.microsoft:desktop-1",
        "iqn.2010-04.org.ipxe:4c4c4544-0000-2010-8020-80c04f202020",
        "iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-test",
        "iqn.2001-04.com.example",
        "eui.02004567a425678d",
        "naa.52004567ba64678d",
        "naa.62004567ba64678d0123456789abcdef",
        "iqn.2001-04.com.example:żółw",
    ],
)
def test_name_is_taken_as_it_is(name):
    assert normalise(name) == name


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("IQN.2001-04.COM.Example:Disk.A", "iqn.2001-04.com.example:disk.a"),
        ("EUI.02004567A425678D", "eui.02004567a425678d"),
        ("iqn.2001-04.com.example:ŻÓŁW", "iqn.2001-04.com.example:żółw"),
        ("iqn.2001-04.com.example:Straße", "iqn.2001-04.com.example:strasse"),
        ("iqn.2001-04.com.example:\uff41", "iqn.2001-04.com.example:a"),
        ("iqn.2001-04.com.example:a\u00adb", "iqn.2001-04.com.example:ab"),
    ],
)
def test_name_is_folded(name, form):
    assert normalise(name) == form
    assert normalise(form) == form


@pytest.mark.parametrize(
    "name",
    [
        "",
        "iqn",
        "iqn.",
        "iqn.2026-00.io.x:y",
        "iqn.2026-13.io.x:y",
        "iqn.26-11.io.x:y",
        "iqn.2026-11",
        "iqn.2026-11.:y",
        "iqn.2026-11.io..x",
        "iqn.2026-11.-io:y",
        "iqn.2026-11.io.x:",
        "eui.02004567a425678",
        "eui.02004567a425678g",
        "naa.52004567ba64678d0",
        "disk1",
        "iqn.2026-11.io.x:a b",
        "iqn.2026-11.io.x:a\tb",
        "iqn.2026-11.io.x:a\nb",
        "iqn.2026-11.io.x:a\x00b",
        "iqn.2026-11.io.x:a,b",
        "iqn.2026-11.io.x:a/b",
        "iqn.2026-11.io.x:../../etc/passwd",
        "iqn.2026-11.io.x:a_b",
        "iqn.2026-11.io.x:*",
        "iqn.2026-11.io.x:{name}",
        "iqn.2026-11.io.x:%n",
        "iqn.2026-11.io.x:a\u3002b",
        "iqn.2026-11.io.x:\u00a0",
        "iqn.2026-11.io.x:\u202e",
        "iqn.2026-11.io.x:\ue000",
        "iqn.2026-11.io.x:\u05d0",
        "iqn.2026-11.io.x:\ufb1d",
        "iqn.2026-11.io.x:\ud800",
        "iqn.2026-11.io.x:" + "y" * 207,
        "iqn.2026-11.io.x:" + "ż" * 104,
    ],
)
def test_name_is_refused(name):
    with pytest.raises(ProtocolError):
        normalise(name)


def test_longest_name():
    name = "iqn.2026-11.io.x:" + "y" * 206
    assert normalise(name) == name


@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing(tail):
    try:
        form = normalise("iqn.2026-11.io.x:" + tail)
    except ProtocolError:
        return
    assert normalise(form) == form
