"""key=value text: its form and its bounds (RFC 7143 6.1)."""

import pytest
from goldherd.errors import LoginStatus, ProtocolError, shown
from goldherd.wire import text
from hypothesis import given
from hypothesis import strategies as st

KEYS = st.from_regex(r"[A-Za-z0-9.\-+@_/#]{1,63}", fullmatch=True)
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=60)


@given(st.dictionaries(KEYS, VALUES, max_size=20))
def test_pairs_come_back_as_they_went(pairs):
    assert text.parse(text.join(pairs.items())) == pairs


@given(st.binary(max_size=200))
def test_parse_raises_nothing_but_protocol_error(data):
    try:
        text.parse(data)
    except ProtocolError as refusal:
        assert refusal.login_status == LoginStatus(2, 0)


def test_empty_text_and_empty_value():
    assert text.parse(b"") == {}
    assert text.parse(b"\0\0") == {}
    assert text.parse(b"SendTargets=\0") == {"SendTargets": ""}


def test_value_may_hold_an_equals_sign():
    assert text.parse(b"X-a=b=c\0") == {"X-a": "b=c"}


def test_padding_counted_in_is_taken():
    assert text.parse(b"A=1\0\0\0") == {"A": "1"}


@pytest.mark.parametrize(
    "data",
    [
        b"A\0",
        b"A=1",
        b"=1\0",
        b"A=1\0\0B=1\0",
        b"\0A=1\0",
        b"A b=1\0",
        b"A=1\0A=2\0",
        b"A=\xff\0",
        b"A=\x01\0",
    ],
    ids=[
        "no =",
        "no NUL",
        "no key",
        "NUL between",
        "NUL first",
        "blank in key",
        "twice",
        "not UTF-8",
        "control",
    ],
)
def test_form_broken(data):
    with pytest.raises(ProtocolError):
        text.parse(data)


def test_bounds_of_key_value_and_number_of_pairs():
    assert text.parse(b"K" * 63 + b"=" + b"v" * 255 + b"\0")
    for data in (b"K" * 64 + b"=\0", b"K=" + b"v" * 256 + b"\0", b"".join(b"K%d=\0" % i for i in range(257))):
        with pytest.raises(ProtocolError):
            text.parse(data)
    assert text.parse(b"K=" + b"v" * 256 + b"\0", {"K": 256})


def test_what_is_shown_of_a_peer_can_not_harm_a_log():
    assert shown(b"a\nb\xff\x1b[31m") == r"'a\nb\\xff\x1b[31m'"
    assert len(shown("x" * 1000)) < 80


@pytest.mark.parametrize(
    ("value", "number"),
    [("0", 0), ("007", 7), ("0x1F", 31), ("0X1f", 31), ("18446744073709551615", 2**64 - 1)],
)
def test_numbers(value, number):
    assert text.number(value) == number


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "0x",
        "0xg",
        "1_0",
        "١",
        "18446744073709551616",
        "9" * 5000,
        "0x1" + "0" * 16,
    ],
)
def test_numbers_that_are_none(value):
    with pytest.raises(ProtocolError):
        text.number(value)


def test_numbers_out_of_range():
    with pytest.raises(ProtocolError):
        text.number("511", 512, 1024)
    with pytest.raises(ProtocolError):
        text.number("1025", 512, 1024)


@pytest.mark.parametrize("value", ["yes", "YES", "1", "", "No "])
def test_booleans_are_yes_or_no_exactly(value):
    assert (text.boolean("Yes"), text.boolean("No")) == (True, False)
    with pytest.raises(ProtocolError):
        text.boolean(value)


def test_binary_values():
    assert text.binary("0x00fF", 2) == b"\x00\xff"
    assert text.binary("0XAB", 2) == b"\xab"
    assert text.binary("0bAP8=", 2) == b"\x00\xff"
    assert text.binary("0BAP8=", 2) == b"\x00\xff"
    assert text.binary(text.hexadecimal(b"\x01\x02"), 2) == b"\x01\x02"


@pytest.mark.parametrize(
    "value", ["", "0x", "0b", "0xabc", "0xzz", "0b*", "0bAP8", "abcd", "0x010203", "0x01 02", "0bÄÄ=="]
)
def test_binary_values_that_are_none(value):
    with pytest.raises(ProtocolError):
        text.binary(value, 2)


@given(st.binary(max_size=100), st.integers(1, 30))
def test_pieces_join_to_the_whole(data, piece_bytes):
    pieces = text.pieces(data, piece_bytes)
    assert b"".join(pieces) == data
    assert pieces
    assert all(len(piece) <= piece_bytes for piece in pieces)


@given(st.lists(st.binary(max_size=10), min_size=1, max_size=6))
def test_collector_joins_what_goes_on(parts):
    collector = text.Collector()
    for part in parts[:-1]:
        assert collector.add(part, goes_on=True) is None
    assert collector.add(parts[-1], goes_on=False) == b"".join(parts)
    assert collector.add(b"new", goes_on=False) == b"new"


def test_collector_has_a_ceiling():
    collector = text.Collector(10)
    collector.add(b"x" * 10, goes_on=True)
    with pytest.raises(ProtocolError):
        collector.add(b"x", goes_on=False)
