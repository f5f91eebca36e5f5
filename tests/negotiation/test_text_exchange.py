"""Text Requests of the full feature phase (RFC 7143 11.10, 11.11)."""

import pytest
from goldherd.model.portals import Portal
from goldherd.negotiation.discovery import send_targets
from goldherd.negotiation.text_exchange import TextExchange
from goldherd.wire import header, text
from goldherd.wire.opcodes import NO_TAG, Flag, RejectReason
from hypothesis import given
from hypothesis import strategies as st

from tests.support.coroutines import finished

NAMES = [f"iqn.2026-11.io.goldherd:pc-{number:03d}" for number in range(300)]
CONTINUE = int(Flag.CONTINUE)


def discovery(max_send_data_segment=8192, names=NAMES):
    portals = [Portal("192.0.2.1", 3260)]

    async def visible():
        return names

    return TextExchange(lambda value: send_targets(value, None, visible, portals), max_send_data_segment)


def ask(exchange, data=b"", **fields):
    """Sends one request; the response's header and data."""
    (pdu,) = finished(exchange.receive(header.TextRequest(**{"itt": 5, "lengths": len(data)} | fields).pack(), data))
    assert len(pdu) % 4 == 0
    assert pdu[24:36] == bytes(12), "whoever sends it numbers it"
    if pdu[0] == header.Reject().opcode:
        assert exchange.refusal
        return header.Reject.read(pdu[:48]), pdu[48:]
    response = header.TextResponse.read(pdu[:48])
    assert response.itt == 5
    return response, pdu[48 : 48 + response.lengths]


def test_short_answer_is_one_final_response():
    response, data = ask(discovery(names=NAMES[:2]), b"SendTargets=All\0")
    assert (response.flags, response.ttt) == (header.FINAL, NO_TAG)
    assert data == (
        b"TargetName=iqn.2026-11.io.goldherd:pc-000\0TargetAddress=192.0.2.1:3260,1\0"
        b"TargetName=iqn.2026-11.io.goldherd:pc-001\0TargetAddress=192.0.2.1:3260,1\0"
    )


@pytest.mark.parametrize("segment", [512, 8192])
def test_long_answer_goes_out_in_pieces(segment):
    exchange = discovery(segment)
    response, whole = ask(exchange, b"SendTargets=All\0")
    tags = set()
    while not response.flags & header.FINAL:
        assert response.flags == CONTINUE
        assert response.ttt != NO_TAG
        assert response.ttt not in tags
        tags.add(response.ttt)
        response, data = ask(exchange, ttt=response.ttt)
        assert len(data) <= segment
        whole += data
    assert response.ttt == NO_TAG
    assert [line[11:].decode() for line in whole.split(b"\0") if line.startswith(b"TargetName=")] == NAMES


def test_empty_answer():
    assert ask(discovery(names=[]), b"SendTargets=All\0")[1] == b""


def test_request_that_goes_on():
    exchange = discovery(names=NAMES[:1])
    response, data = ask(exchange, b"SendTar", flags=CONTINUE)
    assert (response.flags, data) == (0, b"")
    response, data = ask(exchange, b"gets=All\0", ttt=response.ttt)
    assert response.flags == header.FINAL
    assert data.startswith(b"TargetName=" + NAMES[0].encode())


def test_request_without_f_keeps_the_exchange_open():
    exchange = discovery(names=NAMES[:1])
    response, data = ask(exchange, b"SendTargets=All\0", flags=0)
    assert response.flags == 0
    assert data
    response, data = ask(exchange, ttt=response.ttt)
    assert (response.flags, response.ttt, data) == (header.FINAL, NO_TAG, b"")


def test_new_request_drops_the_unfinished_one():
    exchange = discovery(512)
    old, _ = ask(exchange, b"SendTargets=All\0")
    response, _ = ask(exchange, b"X-thing=1\0")
    assert response.flags == header.FINAL
    rejected, _ = ask(exchange, ttt=old.ttt)
    assert rejected.reason == RejectReason.REJECT_INVALID_FIELD


@pytest.mark.parametrize("ttt", [0, 1, 0xFFFFFFFE])
def test_tag_of_no_exchange(ttt):
    rejected, data = ask(discovery(), b"SendTargets=All\0", ttt=ttt)
    assert rejected.reason == RejectReason.REJECT_INVALID_FIELD
    assert data == header.TextRequest(itt=5, lengths=16, ttt=ttt).pack()


def test_old_piece_can_not_be_fetched_again():
    exchange = discovery(512)
    first, _ = ask(exchange, b"SendTargets=All\0")
    ask(exchange, ttt=first.ttt)
    assert ask(exchange, ttt=first.ttt)[0].reason == RejectReason.REJECT_INVALID_FIELD


def test_text_while_our_answer_goes_on():
    exchange = discovery(512)
    response, _ = ask(exchange, b"SendTargets=All\0")
    rejected, _ = ask(exchange, b"X=1\0", ttt=response.ttt)
    assert rejected.reason == RejectReason.REJECT_PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"flags": header.FINAL | CONTINUE}, RejectReason.REJECT_PROTOCOL_ERROR),
        ({"itt": NO_TAG}, RejectReason.REJECT_INVALID_FIELD),
        ({"lengths": 3}, RejectReason.REJECT_INVALID_FIELD),
        ({"lengths": 0x01000010}, RejectReason.REJECT_INVALID_FIELD),
        ({"opcode": 0x05}, RejectReason.REJECT_INVALID_FIELD),
    ],
)
def test_header_that_can_not_be(fields, reason):
    assert ask(discovery(), b"SendTargets=All\0", **fields)[0].reason == reason


def test_text_that_is_none():
    assert ask(discovery(), b"SendTargets\0")[0].reason == RejectReason.REJECT_PROTOCOL_ERROR


def test_text_collected_has_a_ceiling():
    exchange = discovery()
    response, _ = ask(exchange, b"x" * 60000, flags=CONTINUE)
    rejected, _ = ask(exchange, b"x" * 60000, flags=CONTINUE, ttt=response.ttt)
    assert rejected.reason == RejectReason.REJECT_PROTOCOL_ERROR


def test_segment_length_declared_anew():
    exchange = discovery()
    _, data = ask(exchange, b"MaxRecvDataSegmentLength=1024\0")
    assert (data, exchange.max_send_data_segment) == (b"", 1024)
    _, data = ask(exchange, b"MaxRecvDataSegmentLength=511\0")
    assert (text.parse(data), exchange.max_send_data_segment) == (
        {"MaxRecvDataSegmentLength": "Reject"},
        1024,
    )


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("X-thing", "NotUnderstood"),
        ("InitialR2T", "Reject"),
        ("InitiatorName", "Reject"),
        ("TargetAddress", "Reject"),
        ("AuthMethod", "Reject"),
    ],
)
def test_key_that_has_no_place_here(key, answer):
    assert text.parse(ask(discovery(), f"{key}=No\0".encode())[1]) == {key: answer}


def test_alias_needs_no_answer():
    assert ask(discovery(), b"InitiatorAlias=pc\0")[1] == b""


def test_nothing_asked_in_a_discovery_session_is_rejected():
    assert text.parse(ask(discovery(), b"SendTargets=\0")[1]) == {"SendTargets": "Reject"}


def test_plugin_that_fails_costs_one_request():
    async def broken(value):
        raise KeyError(value)

    exchange = TextExchange(broken, 8192)
    assert ask(exchange, b"SendTargets=All\0")[0].reason == RejectReason.REJECT_OUT_OF_RESOURCES
    assert ask(exchange, b"X-thing=1\0")[0].flags == header.FINAL


@given(st.lists(st.tuples(st.binary(min_size=48, max_size=48), st.binary(max_size=40), st.booleans()), max_size=6))
def test_no_bytes_make_it_raise(pdus):
    exchange = discovery(512)
    for raw, data, tidy in pdus:
        if tidy:
            raw = header.TextRequest(flags=raw[1], itt=raw[16] & 1, ttt=raw[20] & 3, lengths=len(data)).pack()
        for pdu in finished(exchange.receive(raw, data)):
            assert len(pdu) % 4 == 0
