"""CHAP, one way and mutual (RFC 1994, RFC 7143 12.1.3)."""

import base64
import contextlib
import hashlib

import pytest
from goldherd.errors import LoginStatus, ProtocolError, SettingsError
from goldherd.model.targets import ChapCredentials
from goldherd_plugins.auth_chap import ALGORITHMS, ChapExchange, check_credentials, response, start_login
from hypothesis import given
from hypothesis import strategies as st

ONE_WAY = ChapCredentials("pc-001", b"a secret of 16 b")
MUTUAL = ChapCredentials("pc-001", b"a secret of 16 b", "goldherd", b"another 16 bytes")
HASHES = {5: hashlib.md5, 6: hashlib.sha1, 7: hashlib.sha256, 8: hashlib.sha3_256}
DIGEST_BYTES = {5: 16, 6: 20, 7: 32, 8: 32}


def challenged(exchange, algorithm=5):
    """Runs the first step; identifier and challenge."""
    keys = exchange.step({"CHAP_A": str(algorithm)})
    return int(keys["CHAP_I"]), bytes.fromhex(keys["CHAP_C"].removeprefix("0x"))


def proof(exchange, algorithm=5, secret=b"a secret of 16 b", user="pc-001"):
    """The second step's keys, computed without our code."""
    identifier, challenge = challenged(exchange, algorithm)
    digest = HASHES[algorithm](bytes([identifier]) + secret + challenge).digest()
    return {"CHAP_N": user, "CHAP_R": "0x" + digest.hex()}


def refused(exchange, keys, status=(2, 1)):
    """The step fails with that status, and nothing can be tried after it."""
    with pytest.raises(ProtocolError) as refusal:
        exchange.step(keys)
    assert refusal.value.login_status == LoginStatus(*status)
    assert not exchange.finished
    assert "a secret of" not in str(refusal.value)
    assert "another 16" not in str(refusal.value)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("credentials", [ONE_WAY, MUTUAL])
def test_right_response(algorithm, credentials):
    exchange = ChapExchange(credentials)
    assert exchange.step(proof(exchange, algorithm)) == {}
    assert exchange.finished


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_digest_is_the_one_of_its_number(algorithm):
    assert response(algorithm, 7, b"secret", b"challenge") == HASHES[algorithm](b"\x07secretchallenge").digest()
    assert len(response(algorithm, 7, b"secret", b"challenge")) == DIGEST_BYTES[algorithm]


@pytest.mark.parametrize(("offer", "chosen"), [("5", "5"), ("7,5", "7"), ("99,8,5", "8"), ("0x6", "6")])
def test_first_common_algorithm_of_the_initiators_list(offer, chosen):
    assert ChapExchange(ONE_WAY).step({"CHAP_A": offer})["CHAP_A"] == chosen


def test_accepted_algorithms_can_be_narrowed():
    assert ChapExchange(ONE_WAY, accepted=[7]).step({"CHAP_A": "5,7"})["CHAP_A"] == "7"
    refused(ChapExchange(ONE_WAY, accepted=[7]), {"CHAP_A": "5"})


@pytest.mark.parametrize(("offer", "status"), [("4", (2, 1)), ("9,10", (2, 1)), ("", (2, 0)), ("MD5", (2, 0))])
def test_no_common_algorithm(offer, status):
    refused(ChapExchange(ONE_WAY), {"CHAP_A": offer}, status)


def test_challenge_is_new_each_time_and_long_enough():
    for algorithm, digest in ALGORITHMS.items():
        challenges = {challenged(ChapExchange(ONE_WAY), algorithm)[1] for _ in range(50)}
        assert len(challenges) == 50
        assert {len(challenge) for challenge in challenges} == {digest.challenge_bytes}
        assert digest.challenge_bytes >= 16


def test_base64_response():
    exchange = ChapExchange(ONE_WAY)
    keys = proof(exchange)
    digest = bytes.fromhex(keys["CHAP_R"][2:])
    exchange.step(keys | {"CHAP_R": "0b" + base64.b64encode(digest).decode()})
    assert exchange.finished


@pytest.mark.parametrize(
    "change",
    [
        {"CHAP_N": "pc-002"},
        {"CHAP_N": "PC-001"},
        {"CHAP_N": ""},
        {"CHAP_R": "0x" + "00" * 16},
        {"CHAP_R": "0x00"},
    ],
)
def test_wrong_name_or_response(change):
    exchange = ChapExchange(ONE_WAY)
    refused(exchange, proof(exchange) | change)


@pytest.mark.parametrize("cut", [lambda r: r[:-2], lambda r: r + "00", lambda r: r + r[2:]])
def test_response_with_missing_or_extra_bytes(cut):
    exchange = ChapExchange(ONE_WAY)
    keys = proof(exchange)
    refused(exchange, keys | {"CHAP_R": cut(keys["CHAP_R"])})


@pytest.mark.parametrize("value", ["", "abc", "0x", "0xabc", "0xzz", "0b!!", "0x" + "00" * 1025])
def test_response_that_is_no_binary_value(value):
    exchange = ChapExchange(ONE_WAY)
    refused(exchange, proof(exchange) | {"CHAP_R": value}, (2, 0))


def test_one_try_only():
    exchange = ChapExchange(ONE_WAY)
    right = proof(exchange)
    refused(exchange, right | {"CHAP_R": "0x00"})
    refused(exchange, right)


def test_nothing_after_the_end():
    exchange = ChapExchange(ONE_WAY)
    keys = proof(exchange)
    exchange.step(keys)
    with pytest.raises(ProtocolError):
        exchange.step(keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"CHAP_N": "pc-001", "CHAP_R": "0x00"},
        {"CHAP_A": "5", "CHAP_N": "pc-001", "CHAP_R": "0x00"},
        {"CHAP_I": "1", "CHAP_C": "0x00"},
    ],
)
def test_steps_out_of_order(keys):
    refused(ChapExchange(MUTUAL), keys)


@pytest.mark.parametrize("missing", ["CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"])
def test_step_that_is_not_whole(missing):
    exchange = ChapExchange(MUTUAL)
    keys = proof(exchange) | {"CHAP_I": "1", "CHAP_C": "0x" + "11" * 16}
    del keys[missing]
    refused(exchange, keys)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_mutual(algorithm):
    exchange = ChapExchange(MUTUAL)
    keys = proof(exchange, algorithm) | {"CHAP_I": "200", "CHAP_C": "0x" + "11" * 24}
    answer = exchange.step(keys)
    expected = HASHES[algorithm](b"\xc8" + b"another 16 bytes" + b"\x11" * 24).hexdigest()
    assert answer == {"CHAP_N": "goldherd", "CHAP_R": "0x" + expected}
    assert exchange.finished


def test_mutual_is_not_answered_before_the_initiator_has_proved_itself():
    exchange = ChapExchange(MUTUAL)
    refused(exchange, proof(exchange, secret=b"wrong") | {"CHAP_I": "1", "CHAP_C": "0x" + "11" * 16})


def test_mutual_without_a_secret_of_ours():
    exchange = ChapExchange(ONE_WAY)
    refused(exchange, proof(exchange) | {"CHAP_I": "1", "CHAP_C": "0x" + "11" * 16})


def test_reflection_is_refused():
    exchange = ChapExchange(MUTUAL)
    identifier, challenge = challenged(exchange)
    digest = hashlib.md5(bytes([identifier]) + b"a secret of 16 b" + challenge).hexdigest()
    keys = {"CHAP_N": "pc-001", "CHAP_R": "0x" + digest}
    refused(exchange, keys | {"CHAP_I": "1", "CHAP_C": "0x" + challenge.hex()})


def test_equal_secrets_are_refused_at_the_latest_in_the_login():
    exchange = ChapExchange(ChapCredentials("pc-001", b"a secret of 16 b", "goldherd", b"a secret of 16 b"))
    refused(exchange, proof(exchange) | {"CHAP_I": "1", "CHAP_C": "0x" + "11" * 16})


@pytest.mark.parametrize(("key", "value"), [("CHAP_I", "256"), ("CHAP_I", "-1"), ("CHAP_C", "x"), ("CHAP_C", "0x")])
def test_mutual_challenge_that_is_none(key, value):
    exchange = ChapExchange(MUTUAL)
    keys = proof(exchange) | {"CHAP_I": "1", "CHAP_C": "0x" + "11" * 16} | {key: value}
    refused(exchange, keys, (2, 0))


@given(st.dictionaries(st.sampled_from(["CHAP_A", "CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"]), st.text(max_size=20)))
def test_no_keys_let_a_stranger_in(keys):
    for prepared in (False, True):
        exchange = ChapExchange(MUTUAL)
        if prepared:
            challenged(exchange)
        with contextlib.suppress(ProtocolError):
            exchange.step(keys)
        assert not exchange.finished


def test_check_credentials_takes_good_ones():
    assert check_credentials(ONE_WAY) == []
    assert check_credentials(MUTUAL) == []


@pytest.mark.parametrize("secret", [b"short", b"longer than sixteen bytes"])
def test_check_credentials_warns(secret):
    (warning,) = check_credentials(ChapCredentials("pc-001", secret))
    assert "Windows" in warning
    assert secret.decode() not in warning


@pytest.mark.parametrize(
    "credentials",
    [
        ChapCredentials("pc-001", b""),
        ChapCredentials("pc-001", b"x" * 256),
        ChapCredentials("", b"a secret of 16 b"),
        ChapCredentials("u" * 256, b"a secret of 16 b"),
        ChapCredentials("a\nb", b"a secret of 16 b"),
        ChapCredentials("pc-001", b"a secret of 16 b", "goldherd", b"a secret of 16 b"),
        ChapCredentials("pc-001", b"a secret of 16 b", "goldherd", None),
        ChapCredentials("pc-001", b"a secret of 16 b", None, b"another 16 bytes"),
    ],
)
def test_check_credentials_refuses(credentials):
    with pytest.raises(SettingsError) as refusal:
        check_credentials(credentials)
    assert "a secret of" not in str(refusal.value)


def test_plugin_answers_only_with_credentials():
    assert start_login(None) is None
    assert start_login(ONE_WAY).method == "CHAP"
