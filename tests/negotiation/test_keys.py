"""Every key and its result function (RFC 7143 section 13)."""

import pytest
from goldherd.errors import ProtocolError
from goldherd.model.parameters import Parameters
from goldherd.negotiation.keys import FIELDS, KEYS, Negotiation, Phase


def answer(key, offer, **others):
    """The answer to one key of the operational stage in a normal session."""
    return dict(Negotiation().answers({key: offer} | others, Phase.OPERATIONAL)).get(key)


def test_nothing_offered_leaves_the_defaults_of_the_standard():
    assert Negotiation().parameters(8192) == Parameters()
    defaults = Parameters()
    assert (defaults.initial_r2t, defaults.immediate_data) == (True, True)
    assert (defaults.max_burst, defaults.first_burst) == (262144, 65536)
    assert (defaults.time2wait, defaults.time2retain, defaults.max_connections) == (2, 20, 1)
    assert (defaults.header_digest, defaults.data_digest) == (False, False)


@pytest.mark.parametrize(
    ("key", "offer", "result"),
    [
        ("HeaderDigest", "None,CRC32C", "None"),
        ("HeaderDigest", "CRC32C,None", "CRC32C"),
        ("DataDigest", "MD5,CRC32C", "CRC32C"),
        ("DataDigest", "MD5", "Reject"),
        ("DataDigest", "crc32c", "Reject"),
        ("MaxConnections", "32", "1"),
        ("InitialR2T", "No", "No"),
        ("InitialR2T", "Yes", "Yes"),
        ("ImmediateData", "No", "No"),
        ("ImmediateData", "Yes", "Yes"),
        ("MaxBurstLength", "16776192", "1048576"),
        ("MaxBurstLength", "512", "512"),
        ("MaxBurstLength", "0x10000", "65536"),
        ("FirstBurstLength", "65536", "65536"),
        ("MaxOutstandingR2T", "16", "1"),
        ("DefaultTime2Wait", "5", "5"),
        ("DefaultTime2Retain", "20", "0"),
        ("DataPDUInOrder", "No", "Yes"),
        ("DataSequenceInOrder", "No", "Yes"),
        ("ErrorRecoveryLevel", "2", "0"),
        ("iSCSIProtocolLevel", "2", "1"),
        ("TaskReporting", "FastAbort,RFC3720", "RFC3720"),
        ("IFMarker", "Yes", "No"),
        ("OFMarker", "No", "No"),
        ("IFMarkInt", "2048~8192", "Reject"),
        ("OFMarkInt", "2048", "Reject"),
        ("X-com.example.thing", "1", "NotUnderstood"),
        ("Z#thing", "1", "NotUnderstood"),
        ("initialR2T", "No", "NotUnderstood"),
        ("InitiatorAlias", "my pc", None),
        ("MaxRecvDataSegmentLength", "8192", None),
    ],
)
def test_result_of_an_offer(key, offer, result):
    assert answer(key, offer) == result


NUMBERS = [key for key in KEYS.values() if key.high]


@pytest.mark.parametrize("key", NUMBERS, ids=lambda key: key.name)
def test_number_out_of_range_is_rejected_and_changes_nothing(key):
    for offer in (str(key.low - 1), str(key.high + 1), "", "abc", "4294967296", "99999999999999999999999"):
        negotiation = Negotiation()
        assert negotiation.answers({key.name: offer}, Phase.OPERATIONAL) == [(key.name, "Reject")]
        assert negotiation.value(key.name) == key.default


@pytest.mark.parametrize("key", NUMBERS, ids=lambda key: key.name)
def test_number_at_its_bounds_is_taken(key):
    for offer in (key.low, key.high):
        assert answer(key.name, str(offer)) != "Reject"


@pytest.mark.parametrize("key", ["InitialR2T", "ImmediateData", "DataPDUInOrder", "IFMarker"])
@pytest.mark.parametrize("offer", ["yes", "1", "", "Maybe", "Yes,No"])
def test_boolean_that_is_none_is_rejected(key, offer):
    assert answer(key, offer) == "Reject"


@pytest.mark.parametrize("order", [("FirstBurstLength", "MaxBurstLength"), ("MaxBurstLength", "FirstBurstLength")])
def test_first_burst_never_exceeds_max_burst(order):
    offers = {"FirstBurstLength": "262144", "MaxBurstLength": "16384"}
    negotiation = Negotiation()
    answers = negotiation.answers({key: offers[key] for key in order}, Phase.OPERATIONAL)
    assert [key for key, _ in answers] == list(order)
    assert dict(answers) == {"FirstBurstLength": "16384", "MaxBurstLength": "16384"}
    assert negotiation.parameters(8192).first_burst == 16384


def test_default_first_burst_never_exceeds_a_small_max_burst():
    negotiation = Negotiation()
    negotiation.answers({"MaxBurstLength": "4096"}, Phase.OPERATIONAL)
    assert negotiation.parameters(8192).first_burst == 4096


@pytest.mark.parametrize("key", [key.name for key in KEYS.values() if key.normal_only])
def test_key_of_normal_sessions_is_irrelevant_in_a_discovery_session(key):
    answers = Negotiation(discovery=True).answers({key: "Yes"}, Phase.OPERATIONAL)
    assert answers == [(key, "Irrelevant")]


@pytest.mark.parametrize("key", [key.name for key in KEYS.values() if key.leading_only])
def test_key_of_the_leading_login_is_rejected_on_a_further_connection(key):
    answers = Negotiation(leading=False).answers({key: "1"}, Phase.OPERATIONAL)
    assert answers == [(key, "Reject")]


@pytest.mark.parametrize("key", ["HeaderDigest", "InitialR2T", "MaxBurstLength"])
def test_operational_key_in_the_security_stage(key):
    with pytest.raises(ProtocolError):
        Negotiation().answers({key: "None"}, Phase.SECURITY)


@pytest.mark.parametrize("key", ["TargetAlias", "TargetAddress", "TargetPortalGroupTag"])
def test_key_that_only_a_target_declares(key):
    with pytest.raises(ProtocolError):
        Negotiation().answers({key: "1"}, Phase.OPERATIONAL)


def test_what_we_bring_can_be_configured():
    negotiation = Negotiation(ours={"MaxBurstLength": 65536, "ImmediateData": False})
    answers = negotiation.answers({"MaxBurstLength": "262144", "ImmediateData": "Yes"}, Phase.OPERATIONAL)
    assert answers == [("MaxBurstLength", "65536"), ("ImmediateData", "No")]


def test_every_agreed_field_has_its_key():
    assert set(FIELDS) <= set(KEYS)
    assert set(FIELDS.values()) <= set(Parameters.__dataclass_fields__)


OFFER = {"MaxBurstLength": "16384", "FirstBurstLength": "262144", "ImmediateData": "Yes", "X-vendor": "1"}


def test_logins_that_offer_the_same_get_the_same():
    first, second = Negotiation(), Negotiation()
    answers = [each.answers(OFFER, Phase.OPERATIONAL) for each in (first, second)]
    assert answers[0] == answers[1]
    assert first.parameters(8192) == second.parameters(8192)
    answers[0].append(("Extra", "1"))
    assert Negotiation().answers(OFFER, Phase.OPERATIONAL) == answers[1]


def test_the_same_offer_under_other_terms_is_answered_anew():
    normal = Negotiation().answers(OFFER, Phase.OPERATIONAL)
    assert dict(Negotiation(discovery=True).answers(OFFER, Phase.OPERATIONAL))["ImmediateData"] == "Irrelevant"
    assert dict(Negotiation(leading=False).answers(OFFER, Phase.OPERATIONAL))["MaxBurstLength"] == "Reject"
    ours = Negotiation(ours={"MaxBurstLength": 4096})
    assert dict(ours.answers(OFFER, Phase.OPERATIONAL))["MaxBurstLength"] == "4096"
    assert Negotiation().answers(OFFER, Phase.OPERATIONAL) == normal


def test_the_same_offer_after_another_is_answered_by_what_was_agreed():
    last = {"FirstBurstLength": "65536"}
    assert Negotiation().answers(last, Phase.OPERATIONAL) == [("FirstBurstLength", "65536")]
    negotiation = Negotiation()
    negotiation.answers({"MaxBurstLength": "4096"}, Phase.OPERATIONAL)
    assert negotiation.answers(last, Phase.OPERATIONAL) == [("FirstBurstLength", "4096")]
    assert negotiation.parameters(8192).max_burst == 4096


def test_more_keys_than_are_remembered():
    many = {f"X-{number}": "1" for number in range(200)} | OFFER
    for _ in range(2):
        answers = dict(Negotiation().answers(many, Phase.OPERATIONAL))
        assert len(answers) == 204 and answers["X-7"] == "NotUnderstood" and answers["MaxBurstLength"] == "16384"
