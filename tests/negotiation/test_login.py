"""The login phase: stages, text over several PDUs, identity, sessions, every refusal (RFC 7143 section 6)."""

import dataclasses
from types import SimpleNamespace

import pytest
from goldherd.errors import LoginRedirectError, LoginStatus, ProtocolError
from goldherd.hookspecs import hookimpl
from goldherd.model.portals import Portal
from goldherd.negotiation.host import LoginPolicy
from goldherd.negotiation.login import Login
from goldherd.negotiation.states import SessionAction, Status
from goldherd.wire import header, text
from goldherd.wire.opcodes import Flag, Opcode
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.coroutines import finished


def refused(initiator, reply, status):
    """The reply ends the login with this status; the log has a sentence and the peer nothing but the code."""
    assert reply.status == status
    assert initiator.login.closed
    assert not initiator.login.finished
    assert initiator.login.refusal.endswith(".")
    return initiator.login.refusal


# --- stages ---


def test_security_straight_to_full_feature(connect, names):
    initiator = connect()
    reply = initiator.send(0, 3, names | {"AuthMethod": "None"})
    assert (reply.transit, reply.stages) == (True, (0, 3))
    parameters = initiator.login.result.parameters
    # Nothing was negotiated and nothing declared: the defaults hold in both directions.
    assert (parameters.max_send_data_segment, parameters.max_recv_data_segment) == (8192, 8192)
    assert (parameters.initial_r2t, parameters.immediate_data, parameters.first_burst) == (True, True, 65536)


def test_operational_in_many_steps(connect, names):
    initiator = connect()
    assert not initiator.send(1, None, names).transit
    assert not initiator.send(1, None, {"InitialR2T": "No"}).transit
    reply = initiator.send(1, 3, {"ImmediateData": "No"})
    assert (reply.transit, reply.pairs) == (True, {"ImmediateData": "No"})
    assert not initiator.login.result.parameters.initial_r2t


def test_t_is_never_answered_to_a_request_without_it(connect, names):
    reply = connect().send(0, None, names | {"AuthMethod": "None"})
    assert (reply.transit, reply.stages) == (False, (0, 0))


@pytest.mark.parametrize(("csg", "nsg"), [(0, 0), (0, 2), (1, 0), (1, 1), (1, 2)])
def test_illegal_move(connect, names, csg, nsg):
    initiator = connect()
    assert "asks to go" in refused(initiator, initiator.send(csg, nsg, names), Status.INITIATOR_ERROR)


@pytest.mark.parametrize("csg", [2, 3])
def test_stage_that_is_none(connect, names, csg):
    initiator = connect()
    refused(initiator, initiator.send(csg, None, names), Status.INITIATOR_ERROR)


def test_stage_may_not_go_back(connect, names):
    initiator = connect()
    initiator.send(0, 1, names | {"AuthMethod": "None"})
    refused(initiator, initiator.send(0, None), Status.INITIATOR_ERROR)


def test_stage_may_not_be_skipped_while_the_target_says_no(connect, chap_names):
    initiator = connect()
    assert not initiator.send(0, 1, chap_names | {"AuthMethod": "CHAP"}).transit
    refused(initiator, initiator.send(1, 3), Status.INITIATOR_ERROR)


def test_transit_and_continue_together(connect, names):
    initiator = connect()
    refused(initiator, initiator.send(0, 1, names, goes_on=True), Status.INITIATOR_ERROR)


# --- text over several PDUs ---


def test_text_split_anywhere(connect, names, host):
    whole = text.join((names | {"AuthMethod": "None"}).items())
    for cut in range(1, len(whole)):
        initiator = connect()
        reply = initiator.send(0, None, whole[:cut], goes_on=True)
        assert (reply.data, reply.transit, reply.goes_on) == (b"", False, False)
        reply = initiator.send(0, 1, whole[cut:])
        assert (reply.pairs["AuthMethod"], reply.transit) == ("None", True)


def test_text_collected_has_a_ceiling(connect):
    initiator = connect(LoginPolicy(text_bytes_max=20000))
    assert initiator.send(0, None, b"X" * 8192, goes_on=True).status == Status.SUCCESS
    assert initiator.send(0, None, b"X" * 8192, goes_on=True).status == Status.SUCCESS
    assert "longer" in refused(initiator, initiator.send(0, None, b"X" * 8192, goes_on=True), Status.INITIATOR_ERROR)


def test_text_of_a_login_has_a_ceiling_without_c_bit_too(connect, names):
    initiator = connect(LoginPolicy(text_bytes_max=1000))
    initiator.send(1, None, names)
    refused(initiator, initiator.send(1, None, {f"X-{i}": "y" * 200 for i in range(5)}), Status.INITIATOR_ERROR)


def test_rounds_have_a_ceiling(connect, names):
    initiator = connect(LoginPolicy(rounds_max=3))
    initiator.send(1, None, names)
    initiator.send(1, None)
    initiator.send(1, None)
    refused(initiator, initiator.send(1, None), Status.INITIATOR_ERROR)


def test_answer_longer_than_a_segment_goes_on_by_c_bit(connect, names):
    initiator = connect()
    unknown = {f"X-{i:03d}-{'k' * 50}": "" for i in range(120)}
    initiator.send(1, None, names)
    reply = initiator.send(1, 3, unknown)
    assert (len(reply.data), reply.goes_on, reply.transit) == (8192, True, False)
    rest = initiator.send(1, 3)
    assert (rest.goes_on, rest.transit) == (False, True)
    answers = text.parse(reply.data + rest.data)
    assert list(answers.items()) == [(name, "NotUnderstood") for name in unknown]


def test_text_while_our_answer_goes_on(connect, names):
    initiator = connect()
    initiator.send(1, None, names)
    initiator.send(1, 3, {f"X-{i:03d}-{'k' * 50}": "" for i in range(120)})
    refused(initiator, initiator.send(1, 3, {"X-late": "1"}), Status.INITIATOR_ERROR)


@pytest.mark.parametrize("data", [b"NoEquals\0", b"InitiatorName=x", b"=value\0", b"A=1\0\0B=2\0", b"K" * 64 + b"=\0"])
def test_text_that_is_none(connect, data):
    initiator = connect()
    refused(initiator, initiator.send(0, None, data), Status.INITIATOR_ERROR)


# --- who wants what ---


@pytest.mark.parametrize("missing", ["InitiatorName", "TargetName"])
def test_missing_name(connect, names, missing):
    initiator = connect()
    del names[missing]
    assert missing in refused(initiator, initiator.send(0, 1, names), Status.MISSING_PARAMETER)


def test_names_may_not_come_later(connect, names):
    initiator = connect()
    refused(initiator, initiator.send(0, None, {"InitiatorAlias": "me"}), Status.MISSING_PARAMETER)


@pytest.mark.parametrize("key", ["InitiatorName", "TargetName", "SessionType"])
def test_identity_may_not_change(connect, names, key):
    initiator = connect()
    initiator.send(0, 1, names | {"AuthMethod": "None"})
    reply = initiator.send(1, None, {key: names[key]})
    refused(initiator, reply, Status.INITIATOR_ERROR)


def test_session_type_may_not_come_later(connect, names):
    initiator = connect()
    del names["SessionType"]
    initiator.send(1, None, names)
    refused(initiator, initiator.send(1, None, {"SessionType": "Discovery"}), Status.INITIATOR_ERROR)


def test_key_twice_in_one_login(connect, names):
    initiator = connect()
    initiator.send(1, None, names | {"InitialR2T": "No"})
    assert "twice" in refused(initiator, initiator.send(1, None, {"InitialR2T": "No"}), Status.INITIATOR_ERROR)


def test_key_twice_in_one_text(connect, names):
    initiator = connect()
    data = text.join([*names.items(), ("InitialR2T", "No"), ("InitialR2T", "No")])
    refused(initiator, initiator.send(1, None, data), Status.INITIATOR_ERROR)


@pytest.mark.parametrize(
    ("key", "csg"), [("HeaderDigest", 0), ("AuthMethod", 1), ("SendTargets", 1), ("TargetAddress", 1)]
)
def test_key_in_the_wrong_phase_or_from_the_wrong_side(connect, names, key, csg):
    initiator = connect()
    assert key in refused(initiator, initiator.send(csg, None, names | {key: "None"}), Status.INITIATOR_ERROR)


@pytest.mark.parametrize(
    "name", ["", "../etc/passwd", "iqn.2026-13.x:y", "iqn.2026-11.x:%s*", "iqn.2026-11.x:" + "y" * 300]
)
@pytest.mark.parametrize("key", ["InitiatorName", "TargetName"])
def test_name_that_is_none(connect, names, key, name):
    initiator = connect()
    refused(initiator, initiator.send(0, 1, names | {key: name}), Status.INITIATOR_ERROR)


def test_names_are_compared_normalised(connect, names):
    initiator = connect()
    initiator.send(1, 3, {key: value.upper() if "Name" in key else value for key, value in names.items()})
    assert initiator.login.result.initiator == names["InitiatorName"]
    assert initiator.login.result.target == names["TargetName"]


def test_target_not_found(connect, names):
    initiator = connect()
    reply = initiator.send(0, 1, names | {"TargetName": "iqn.2026-11.io.goldherd:nobody"})
    assert "no target" in refused(initiator, reply, Status.NOT_FOUND)


def test_target_that_does_not_admit_the_initiator_looks_absent(connect, names):
    initiator = connect()
    reply = initiator.send(0, 1, names | {"InitiatorName": "iqn.2026-11.io.goldherd.node:pc-002"})
    assert "does not admit it: initiator" in refused(initiator, reply, Status.NOT_FOUND)
    assert reply.data == b""


def test_target_that_does_not_admit_the_initiator_says_forbidden_if_told_so(connect, names):
    initiator = connect(LoginPolicy(hide_targets=False))
    reply = initiator.send(0, 1, names | {"InitiatorName": "iqn.2026-11.io.goldherd.node:pc-002"})
    refused(initiator, reply, Status.FORBIDDEN)


@pytest.mark.parametrize("session_type", ["discovery", "Other", ""])
def test_session_type_not_supported(connect, names, session_type):
    initiator = connect()
    reply = initiator.send(0, 1, names | {"SessionType": session_type})
    refused(initiator, reply, Status.SESSION_TYPE_NOT_SUPPORTED)


def test_discovery_switched_off(connect, names):
    initiator = connect(LoginPolicy(discovery=False))
    reply = initiator.send(0, 1, names | {"SessionType": "Discovery"})
    refused(initiator, reply, Status.SESSION_TYPE_NOT_SUPPORTED)


# --- proof of identity ---


def test_opening_in_the_operational_stage_does_not_skip_authentication(connect, chap_names):
    initiator = connect()
    assert "skipped" in refused(initiator, initiator.send(1, 3, chap_names), Status.AUTHENTICATION_FAILURE)


def test_going_straight_to_full_feature_does_not_skip_authentication(connect, chap_names):
    initiator = connect()
    refused(initiator, initiator.send(0, 3, chap_names), Status.AUTHENTICATION_FAILURE)


def test_offering_only_none_where_chap_is_asked_for(connect, chap_names):
    initiator = connect()
    reply = initiator.send(0, 1, chap_names | {"AuthMethod": "None"})
    refused(initiator, reply, Status.AUTHENTICATION_FAILURE)


def test_offering_only_chap_where_nothing_is_asked_for(connect, names):
    initiator = connect()
    refused(initiator, initiator.send(0, 1, names | {"AuthMethod": "CHAP"}), Status.AUTHENTICATION_FAILURE)


def test_wrong_secret_gets_one_try(connect, chap_names):
    initiator = connect()
    initiator.send(0, None, chap_names | {"AuthMethod": "CHAP"})
    initiator.send(0, None, {"CHAP_A": "5"})
    proof = {"CHAP_N": "pc-001", "CHAP_R": "0x" + "00" * 16}
    refusal = refused(initiator, initiator.send(0, 1, proof), Status.AUTHENTICATION_FAILURE)
    assert "secret of" not in refusal
    request = dataclasses.replace(initiator.base, flags=0)
    assert finished(initiator.login.receive(request.pack(), b"")) == []


def test_stuck_authentication_stays_in_the_security_stage(connect, chap_names):
    initiator = connect()
    initiator.send(0, None, chap_names | {"AuthMethod": "CHAP"})
    assert not initiator.send(0, 1).transit
    assert not initiator.send(0, 3).transit


def test_chap_keys_where_nothing_is_asked_for_are_not_understood(connect, names):
    initiator = connect()
    reply = initiator.send(0, 1, names | {"AuthMethod": "None", "CHAP_A": "5"})
    assert reply.pairs["CHAP_A"] == "NotUnderstood"


class Badge:
    """A way to prove an identity that a stranger's plugin brings along."""

    method = "Z-badge"
    prefix = "X-badge."
    finished = False

    def step(self, keys):
        self.finished = keys == {"X-badge.number": "42"}
        return {"X-badge.seen": "Yes"}


@pytest.mark.parametrize(("number", "transit"), [("42", True), ("41", False)])
def test_method_of_a_plugin(connect, host, names, number, transit):
    host.hooks.register(SimpleNamespace(start_login=hookimpl(lambda: Badge())), "badge")
    initiator = connect()
    assert initiator.send(0, 1, names | {"AuthMethod": "CHAP,Z-badge"}).pairs["AuthMethod"] == "Z-badge"
    reply = initiator.send(0, 1, {"X-badge.number": number, "X-other": "1"})
    assert reply.pairs == {"X-badge.seen": "Yes", "X-other": "NotUnderstood"}
    assert reply.transit == transit


def test_plugin_that_fails_is_a_target_error(connect, host, names):
    def broken():
        raise KeyError("number")

    host.hooks.register(SimpleNamespace(start_login=hookimpl(broken)), "badge")
    initiator = connect()
    assert "plugin badge" in refused(initiator, initiator.send(0, 1, names), Status.TARGET_ERROR)


def test_discovery_authentication_is_a_switch_of_its_own(connect, host, chap_names):
    names = {"InitiatorName": chap_names["InitiatorName"], "SessionType": "Discovery"}
    open_discovery = connect()
    open_discovery.send(1, 3, names)
    assert open_discovery.login.finished
    host.discovery_credentials = host.targets[chap_names["TargetName"]].credentials
    closed_discovery = connect()
    refused(closed_discovery, closed_discovery.send(1, 3, names), Status.AUTHENTICATION_FAILURE)


# --- sessions ---


@pytest.mark.parametrize("opens_in", [0, 1])
def test_session_reinstatement_from_either_stage(connect, host, names, opens_in):
    first = connect()
    first.send(1, 3, names)
    tsih = host.open_session(first.login)
    again = connect()
    again.send(opens_in, 3, names)
    assert (again.login.result.action, again.login.result.replaces) == (SessionAction.REINSTATE_SESSION, tsih)


def test_reinstatement_of_nothing_before_authentication(connect, host, chap_names):
    host.sessions[chap_names["InitiatorName"], connect().base.isid, chap_names["TargetName"]] = 9
    host.cids[9] = {0}
    initiator = connect()
    initiator.send(0, None, chap_names | {"AuthMethod": "CHAP"})
    initiator.send(0, None, {"CHAP_A": "5"})
    initiator.send(0, 3, {"CHAP_N": "pc-001", "CHAP_R": "0x00"})
    assert initiator.login.result is None


def test_other_isid_is_another_session(connect, host, names):
    first = connect(isid=bytes.fromhex("400027230001"))
    first.send(1, 3, names)
    host.open_session(first.login)
    second = connect(isid=bytes.fromhex("00023d000001"))
    second.send(1, 3, names)
    assert second.login.result.action is SessionAction.NEW


@pytest.mark.parametrize("opens_in", [0, 1])
def test_session_handle_of_nobody(connect, names, opens_in):
    initiator = connect(tsih=77)
    refused(initiator, initiator.send(opens_in, 3, names), Status.SESSION_DOES_NOT_EXIST)


def test_session_handle_of_another_initiator(connect, host, names):
    owner = connect()
    owner.send(1, 3, names | {"TargetName": "iqn.2026-11.io.goldherd:open"})
    tsih = host.open_session(owner.login)
    stranger = connect(tsih=tsih)
    names |= {"TargetName": "iqn.2026-11.io.goldherd:open", "InitiatorName": "iqn.2026-11.evil:stranger"}
    refused(stranger, stranger.send(1, 3, names), Status.SESSION_DOES_NOT_EXIST)


def test_too_many_connections(connect, host, names):
    first = connect()
    first.send(1, 3, names)
    second = connect(tsih=host.open_session(first.login), cid=4)
    refused(second, second.send(1, 3, names), Status.TOO_MANY_CONNECTIONS)


def test_connection_added_where_the_session_allows(connect, host, names):
    host.connections_max = 2
    first = connect()
    first.send(1, 3, names)
    tsih = host.open_session(first.login)
    second = connect(tsih=tsih, cid=4)
    reply = second.send(1, 3, names | {"InitialR2T": "No"})
    assert (reply.header.tsih, second.login.result.action) == (tsih, SessionAction.ADD_CONNECTION)
    assert reply.pairs["InitialR2T"] == "Reject"


def test_connection_reinstatement(connect, host, names):
    first = connect()
    first.send(1, 3, names)
    again = connect(tsih=host.open_session(first.login))
    again.send(1, 3, names)
    assert again.login.result.action is SessionAction.REINSTATE_CONNECTION
    assert again.login.result.tsih == first.login.result.tsih


def test_tsih_only_in_the_last_response(connect, names):
    initiator = connect()
    assert initiator.send(0, 1, names).header.tsih == 0
    assert initiator.send(1, None).header.tsih == 0
    assert initiator.send(1, 3).header.tsih != 0


def test_numbering_wraps(connect, names):
    initiator = connect(LoginPolicy(command_window=8), cmd_sn=0xFFFFFFFE)
    reply = initiator.send(1, 3, names)
    assert (reply.header.exp_cmd_sn, reply.header.max_cmd_sn) == (0xFFFFFFFE, 5)
    assert initiator.login.result.cmd_sn == 0xFFFFFFFE


# --- headers ---


@pytest.mark.parametrize("change", [{"itt": 8}, {"cid": 9}, {"tsih": 1}, {"cmd_sn": 6}, {"isid": bytes(6)}])
def test_header_field_that_changes_within_a_login(connect, names, change):
    initiator = connect()
    initiator.send(1, None, names)
    assert next(iter(change)) in refused(initiator, initiator.send(1, None, **change), Status.INITIATOR_ERROR)


def test_version_not_supported(connect, names):
    initiator = connect()
    reply = initiator.send(0, 1, names, version_min=1, version_max=2)
    assert reply.header.version_active == 0
    refused(initiator, reply, Status.UNSUPPORTED_VERSION)


def test_higher_version_max_is_fine(connect, names):
    assert connect().send(0, 1, names, version_max=255).status == Status.SUCCESS


@pytest.mark.parametrize("opcode", [Opcode.TEXT_REQUEST, Opcode.LOGOUT_REQUEST, Opcode.SCSI_COMMAND, 0x3F, 0x23])
def test_anything_before_the_first_login_request_is_not_answered(connect, opcode):
    login = connect().login
    assert finished(login.receive(bytes([opcode]) + bytes(47), b"")) == []
    assert login.closed


def test_anything_else_within_login(connect, names):
    initiator = connect()
    initiator.send(1, None, names)
    (pdu,) = finished(initiator.login.receive(header.TextRequest(itt=99).pack(), b""))
    response = header.LoginResponse.read(pdu)
    assert LoginStatus(response.status_class, response.status_detail) == Status.INVALID_DURING_LOGIN
    assert response.itt == initiator.base.itt
    assert initiator.login.closed


@pytest.mark.parametrize(
    ("lengths", "data"), [(5, b""), (0, b"A=1\0"), (8193, b"x" * 8193), (0x01000000, b""), (0xFFFFFF, b"")]
)
def test_lengths_that_can_not_be(connect, lengths, data):
    login = connect().login
    (pdu,) = finished(login.receive(header.LoginRequest(lengths=lengths).pack(), data))
    assert pdu[36:38] == b"\x02\x00"
    assert login.closed


# --- what the host may say ---


def test_redirect_carries_the_address(connect, host, names, monkeypatch):
    async def elsewhere(target):
        raise LoginRedirectError("The target lives next door.", address="192.0.2.2:3260,1")

    monkeypatch.setattr(host, "find_target", elsewhere)
    initiator = connect()
    reply = initiator.send(0, 1, names)
    refused(initiator, reply, Status.MOVED_TEMPORARILY)
    assert reply.pairs == {"TargetAddress": "192.0.2.2:3260,1"}
    assert reply.header.tsih == 0


@pytest.mark.parametrize(
    "status", [Status.REMOVED, Status.SERVICE_UNAVAILABLE, Status.OUT_OF_RESOURCES, Status.CANNOT_INCLUDE]
)
def test_status_of_the_host_reaches_the_initiator(connect, host, names, monkeypatch, status):
    def no(*_):
        raise ProtocolError("Not now.", login_status=status)

    monkeypatch.setattr(host, "allocate_tsih", no)
    initiator = connect()
    refused(initiator, initiator.send(1, 3, names), status)


def test_failure_of_the_host_is_a_target_error(connect, host, names, monkeypatch):
    async def broken(*_):
        raise KeyError("secret inside")

    monkeypatch.setattr(host, "find_target", broken)
    initiator = connect()
    reply = initiator.send(0, 1, names)
    assert (reply.status, reply.data) == (Status.TARGET_ERROR, b"")
    assert "KeyError" in initiator.login.refusal


# --- anything at all ---


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.binary(min_size=48, max_size=48), st.binary(max_size=64), st.booleans()), max_size=6))
def test_no_bytes_make_it_raise(pdus):
    class Nobody:
        """A host without targets and sessions."""

        async def find_target(self, target):
            return None

        async def start_login(self, initiator, target):
            return None

        def find_session(self, initiator, isid, target, portal_group):
            return None

        def connections(self, tsih):
            return ()

        def allocate_tsih(self):
            return 1

    login = Login(Nobody(), Portal("192.0.2.1", 3260), "192.0.2.7")
    for raw, data, tidy in pdus:
        if tidy:
            # A Login Request with fitting lengths, so that the rest of it gets a chance.
            raw = bytes([0x43, raw[1] & (Flag.TRANSIT | 0x0F), 0, 0]) + len(data).to_bytes(4, "big") + bytes(40)
        for pdu in finished(login.receive(raw, data)):
            assert len(pdu) % 4 == 0
            assert header.LoginResponse.read(pdu[:48]).opcode == Opcode.LOGIN_RESPONSE
