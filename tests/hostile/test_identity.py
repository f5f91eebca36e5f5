"""Who somebody is: CHAP, and the sessions that a login may touch (RFC 7143 6.3.1, 12.1.3)."""

import hashlib
from collections.abc import Callable

import pytest

from tests.hostile import wire
from tests.hostile.client import Client
from tests.hostile.field import BYSTANDER, CHAP_NODE, CHAP_SECRET, CHAP_USER, NODE, Field
from tests.hostile.wire import text

SECURITY = 0x00
TO_FULL_FEATURE = 0x83
INITIATOR_ERROR, AUTHENTICATION, ABSENT, TOO_MANY = 0x0200, 0x0201, 0x020A, 0x0206
REFUSED = (INITIATOR_ERROR, AUTHENTICATION)

Keys = dict[str, str]


def pairs(data: bytes) -> Keys:
    """The keys of a response."""
    return dict(line.decode().split("=", 1) for line in data.rstrip(b"\0").split(b"\0") if line)


def right(challenge: Keys) -> str:
    """The response that proves the secret."""
    asked = bytes.fromhex(challenge["CHAP_C"][2:])
    return "0x" + hashlib.md5(bytes([int(challenge["CHAP_I"])]) + CHAP_SECRET.encode() + asked).hexdigest()


def offer(client: Client, field: Field, **keys: str) -> wire.Answer:
    """The first request: who, and which authentication."""
    names = {"InitiatorName": field.herd.initiator(CHAP_NODE), "TargetName": field.herd.iqn(CHAP_NODE)}
    return client.login(text(**names, **keys), flags=SECURITY)


def challenged(client: Client, field: Field) -> Keys:
    """A CHAP login up to our challenge."""
    assert offer(client, field, AuthMethod="CHAP").login_status == 0
    return pairs(client.login(text(CHAP_A="5"), flags=SECURITY).data)


def test_the_right_answer_is_taken(field: Field) -> None:
    """Or the refusals below would say nothing."""
    with field.connect() as client:
        proof = text(CHAP_N=CHAP_USER, CHAP_R=right(challenged(client, field)))
        assert client.login(proof, flags=TO_FULL_FEATURE).login_status == 0


Proof = Callable[[Keys], Keys]
PROOFS: dict[str, Proof] = {
    "wrong response": lambda _: {"CHAP_N": CHAP_USER, "CHAP_R": "0x" + "00" * 16},
    "empty response": lambda _: {"CHAP_N": CHAP_USER, "CHAP_R": ""},
    "0x and nothing": lambda _: {"CHAP_N": CHAP_USER, "CHAP_R": "0x"},
    "response without prefix": lambda given: {"CHAP_N": CHAP_USER, "CHAP_R": right(given)[2:]},
    "odd number of digits": lambda given: {"CHAP_N": CHAP_USER, "CHAP_R": right(given)[:-1]},
    "one byte too many": lambda given: {"CHAP_N": CHAP_USER, "CHAP_R": right(given) + "00"},
    "one byte too few": lambda given: {"CHAP_N": CHAP_USER, "CHAP_R": right(given)[:-2]},
    "response of 1025 bytes": lambda _: {"CHAP_N": CHAP_USER, "CHAP_R": "0x" + "ab" * 1025},
    "broken base64": lambda _: {"CHAP_N": CHAP_USER, "CHAP_R": "0b!!!!"},
    "base64 without padding": lambda _: {"CHAP_N": CHAP_USER, "CHAP_R": "0bAAAAA"},
    "response that is no hexadecimal": lambda _: {"CHAP_N": CHAP_USER, "CHAP_R": "0xzz"},
    "unknown user": lambda given: {"CHAP_N": "somebody", "CHAP_R": right(given)},
    "empty user": lambda given: {"CHAP_N": "", "CHAP_R": right(given)},
    "user of 255 bytes": lambda given: {"CHAP_N": "u" * 255, "CHAP_R": right(given)},
    "user with a prefix of the right one": lambda given: {"CHAP_N": CHAP_USER[:-1], "CHAP_R": right(given)},
    "no user": lambda given: {"CHAP_R": right(given)},
    "no response": lambda _: {"CHAP_N": CHAP_USER},
    "CHAP_A again": lambda _: {"CHAP_A": "5"},
    "CHAP_A together with the proof": lambda given: {
        "CHAP_A": "5",
        "CHAP_N": CHAP_USER,
        "CHAP_R": right(given),
    },
    "our challenge handed back": lambda given: {
        "CHAP_N": CHAP_USER,
        "CHAP_R": right(given),
        "CHAP_I": given["CHAP_I"],
        "CHAP_C": given["CHAP_C"],
    },
    "our challenge handed back before any proof": lambda given: {
        "CHAP_I": given["CHAP_I"],
        "CHAP_C": given["CHAP_C"],
    },
    "a challenge of its own, no mutual secret here": lambda given: {
        "CHAP_N": CHAP_USER,
        "CHAP_R": right(given),
        "CHAP_I": "1",
        "CHAP_C": "0x0102030405060708",
    },
    "CHAP_I of 256": lambda given: {
        "CHAP_N": CHAP_USER,
        "CHAP_R": right(given),
        "CHAP_I": "256",
        "CHAP_C": "0x01",
    },
    "CHAP_I without CHAP_C": lambda given: {"CHAP_N": CHAP_USER, "CHAP_R": right(given), "CHAP_I": "1"},
    "a key of CHAP that does not exist": lambda given: {
        "CHAP_N": CHAP_USER,
        "CHAP_R": right(given),
        "CHAP_X": "1",
    },
}


@pytest.mark.parametrize("proof", PROOFS.values(), ids=PROOFS)
def test_chap_proof(field: Field, proof: Proof) -> None:
    with field.connect() as client:
        keys = proof(challenged(client, field))
        assert client.login(text(**keys), flags=TO_FULL_FEATURE).login_status in REFUSED
        assert client.until_gone() == []


@pytest.mark.parametrize(
    "algorithms", ["", "0", "4", "9", "5x", "-5", "4294967301", "1,2,3,4", ",".join(["99"] * 80), ",", "0x"]
)
def test_chap_algorithm(field: Field, algorithms: str) -> None:
    with field.connect() as client:
        offer(client, field, AuthMethod="CHAP")
        answer = client.login(text(CHAP_A=algorithms), flags=SECURITY)
        assert answer.login_status in REFUSED


@pytest.mark.parametrize("methods", ["None", "", "KRB5", "SRP,SPKM1", "chap", "CHAP2", ",,,", "X" * 255])
def test_authentication_method_that_is_not_chap(field: Field, methods: str) -> None:
    with field.connect() as client:
        assert offer(client, field, AuthMethod=methods).login_status in REFUSED


@pytest.mark.parametrize("flags", [0x87, 0x83], ids=["opened in the operational stage", "jumped to full feature"])
def test_authentication_skipped(field: Field, flags: int) -> None:
    names = {"InitiatorName": field.herd.initiator(CHAP_NODE), "TargetName": field.herd.iqn(CHAP_NODE)}
    with field.connect() as client:
        assert client.login(text(**names), flags=flags).login_status == AUTHENTICATION


def test_a_response_is_used_up_by_one_login(field: Field) -> None:
    with field.connect() as client:
        old = right(challenged(client, field))
    with field.connect() as client:
        challenged(client, field)
        proof = text(CHAP_N=CHAP_USER, CHAP_R=old)
        assert client.login(proof, flags=TO_FULL_FEATURE).login_status == AUTHENTICATION


def test_challenges_are_never_the_same(field: Field) -> None:
    seen = set()
    for _ in range(16):
        with field.connect() as client:
            seen.add(challenged(client, field)["CHAP_C"])
    assert len(seen) == 16 and min(map(len, seen)) >= 2 + 2 * 16


def test_a_stranger_with_a_live_tsih_and_isid(field: Field) -> None:
    """020Ah, and the session does not notice: matched by the initiator's name too (RFC 7143 6.3.1)."""
    with field.connect() as owner, field.connect() as stranger:
        initiator, target = field.herd.initiator(NODE), field.herd.iqn(NODE)
        tsih = owner.enter(initiator, target, isid=0x0A0B0C).field("tsih")
        names = text(InitiatorName=field.herd.initiator(BYSTANDER), TargetName=field.herd.iqn(BYSTANDER))
        assert stranger.login(names, isid=0x0A0B0C, tsih=tsih).login_status == ABSENT
        owner.settle_attentions()
        assert not owner.until_pong()


def test_one_connection_more_than_a_session_may_have(field: Field) -> None:
    with field.connect() as first, field.connect() as second:
        initiator, target = field.herd.initiator(NODE), field.herd.iqn(NODE)
        tsih = first.enter(initiator, target, isid=0x0D0E0F).field("tsih")
        names = text(InitiatorName=initiator, TargetName=target)
        assert second.login(names, isid=0x0D0E0F, tsih=tsih, cid=2).login_status == TOO_MANY
        assert not first.until_pong()


def test_an_unfinished_login_does_not_end_the_session_it_would_replace(field: Field) -> None:
    with field.connect() as owner, field.connect() as other:
        initiator, target = field.herd.initiator(NODE), field.herd.iqn(NODE)
        owner.enter(initiator, target, isid=0x111213)
        names = text(InitiatorName=initiator, TargetName=target)
        assert other.login(names, flags=0x04, isid=0x111213).login_status == 0
        assert not owner.until_pong()
