"""The logins of real initiators, key by key and in their order (iPXE, open-iscsi, libiscsi, Windows)."""

import hashlib

import pytest
from goldherd.negotiation.states import SessionAction, Status

IPXE = {
    "HeaderDigest": "None",
    "DataDigest": "None",
    "MaxConnections": "1",
    "InitialR2T": "Yes",
    "ImmediateData": "No",
    "MaxRecvDataSegmentLength": "8192",
    "MaxBurstLength": "262144",
    "FirstBurstLength": "65536",
    "DefaultTime2Wait": "0",
    "DefaultTime2Retain": "0",
    "MaxOutstandingR2T": "1",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
    "ErrorRecoveryLevel": "0",
}
ISCSISTART = {
    "InitiatorAlias": "(none)",
    "HeaderDigest": "None",
    "DataDigest": "None",
    "DefaultTime2Wait": "2",
    "DefaultTime2Retain": "0",
    "IFMarker": "No",
    "OFMarker": "No",
    "ErrorRecoveryLevel": "0",
    "InitialR2T": "No",
    "ImmediateData": "Yes",
    "MaxBurstLength": "16776192",
    "FirstBurstLength": "262144",
    "MaxOutstandingR2T": "1",
    "MaxConnections": "1",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
    "MaxRecvDataSegmentLength": "262144",
}
ISCSID = ISCSISTART | {"HeaderDigest": "None,CRC32C", "DataDigest": "None,CRC32C"}
LIBISCSI = {
    "HeaderDigest": "None,CRC32C",
    "DataDigest": "None",
    "InitialR2T": "No",
    "ImmediateData": "Yes",
    "MaxBurstLength": "262144",
    "FirstBurstLength": "262144",
    "MaxRecvDataSegmentLength": "262144",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
    "DefaultTime2Wait": "2",
    "DefaultTime2Retain": "20",
    "IFMarker": "No",
    "OFMarker": "No",
    "MaxConnections": "1",
    "MaxOutstandingR2T": "1",
    "ErrorRecoveryLevel": "0",
    "X-reduce": "1",
}
WINDOWS = {
    "HeaderDigest": "None,CRC32C",
    "DataDigest": "None,CRC32C",
    "ErrorRecoveryLevel": "2",
    "InitialR2T": "No",
    "ImmediateData": "Yes",
    "MaxRecvDataSegmentLength": "65536",
    "MaxBurstLength": "262144",
    "FirstBurstLength": "65536",
    "MaxConnections": "32",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
    "DefaultTime2Wait": "0",
    "DefaultTime2Retain": "60",
    "MaxOutstandingR2T": "16",
}


def chap_response(algorithm, reply, secret):
    """What an initiator computes from CHAP_I and CHAP_C, without our code."""
    digest = {"5": hashlib.md5, "6": hashlib.sha1, "7": hashlib.sha256, "8": hashlib.sha3_256}[algorithm]
    identifier, challenge = int(reply.pairs["CHAP_I"]), bytes.fromhex(reply.pairs["CHAP_C"][2:])
    return "0x" + digest(bytes([identifier]) + secret + challenge).hexdigest()


def test_ipxe_without_chap(connect, names):
    initiator = connect(isid=bytes.fromhex("400027231234"), cid=0, cmd_sn=0)
    reply = initiator.send(0, 1, names | {"AuthMethod": "None"})
    assert (reply.status, reply.transit, reply.stages) == (Status.SUCCESS, True, (0, 1))
    assert reply.header.tsih == 0
    assert reply.pairs == {"TargetPortalGroupTag": "1", "TargetAlias": "first pc", "AuthMethod": "None"}
    reply = initiator.send(1, 3, IPXE)
    assert (reply.status, reply.transit, reply.stages) == (Status.SUCCESS, True, (1, 3))
    offered = {key: value for key, value in IPXE.items() if key != "MaxRecvDataSegmentLength"}
    # It ignores what we answer, so its offer must come back as it is, without a single Reject.
    assert reply.pairs == offered | {"MaxRecvDataSegmentLength": "262144"}
    assert len(reply.data) < 8192
    result = initiator.login.result
    assert (result.tsih, result.action) == (reply.header.tsih, SessionAction.NEW)
    assert result.tsih != 0
    assert (result.cmd_sn, result.stat_sn) == (0, initiator.stat_sn + 1)
    parameters = result.parameters
    assert (parameters.initial_r2t, parameters.immediate_data) == (True, False)
    assert (parameters.max_send_data_segment, parameters.max_recv_data_segment) == (8192, 262144)
    assert (parameters.max_burst, parameters.first_burst) == (262144, 65536)


@pytest.mark.parametrize("mutual", [False, True])
def test_ipxe_with_chap_sets_t_all_the_time(connect, chap_names, mutual):
    initiator = connect(isid=bytes.fromhex("400027231234"), cid=0, cmd_sn=0)
    offer = "CHAP" if mutual else "CHAP,None"
    reply = initiator.send(0, 1, chap_names | {"SessionType": "Normal", "AuthMethod": offer})
    assert (reply.transit, reply.pairs["AuthMethod"]) == (False, "CHAP")
    challenge = initiator.send(0, 1, {"CHAP_A": "5"})
    assert (challenge.transit, challenge.pairs["CHAP_A"]) == (False, "5")
    proof = {"CHAP_N": "pc-001", "CHAP_R": chap_response("5", challenge, b"a secret of 16 b")}
    if mutual:
        proof |= {"CHAP_I": "9", "CHAP_C": "0x" + "5a" * 16}
    reply = initiator.send(0, 1, proof)
    assert (reply.transit, reply.stages) == (True, (0, 1))
    if mutual:
        expected = hashlib.md5(b"\x09" + b"another 16 bytes" + b"\x5a" * 16).hexdigest()
        assert reply.pairs == {"CHAP_N": "goldherd", "CHAP_R": "0x" + expected}
    initiator.send(1, 3, IPXE)
    assert initiator.login.finished
    assert initiator.login.result.authenticated


def test_iscsistart_without_chap_opens_in_the_operational_stage(connect, names):
    initiator = connect()
    reply = initiator.send(1, 3, names | ISCSISTART)
    assert (reply.status, reply.transit, reply.stages) == (Status.SUCCESS, True, (1, 3))
    assert reply.pairs["MaxBurstLength"] == "1048576"
    assert reply.pairs["FirstBurstLength"] == "262144"
    assert (reply.pairs["InitialR2T"], reply.pairs["ImmediateData"]) == ("No", "Yes")
    assert (reply.pairs["IFMarker"], reply.pairs["OFMarker"]) == ("No", "No")
    assert reply.pairs["TargetPortalGroupTag"] == "1"
    parameters = initiator.login.result.parameters
    assert (parameters.initial_r2t, parameters.immediate_data) == (False, True)
    assert parameters.max_send_data_segment == 262144
    assert initiator.login.result.initiator_alias == "(none)"


def test_iscsistart_with_chap_goes_step_by_step_without_t(connect, chap_names):
    initiator = connect()
    reply = initiator.send(0, None, chap_names | {"SessionType": "Normal", "AuthMethod": "CHAP"})
    assert (reply.transit, reply.pairs["AuthMethod"]) == (False, "CHAP")
    challenge = initiator.send(0, None, {"CHAP_A": "5"})
    assert not challenge.transit
    reply = initiator.send(0, 1, {"CHAP_N": "pc-001", "CHAP_R": chap_response("5", challenge, b"a secret of 16 b")})
    assert (reply.transit, reply.stages) == (True, (0, 1))
    reply = initiator.send(1, 3, ISCSISTART)
    assert (reply.transit, reply.stages) == (True, (1, 3))
    assert initiator.login.finished


def test_iscsid_takes_over_by_session_reinstatement(host, connect, names):
    boot = connect()
    boot.send(1, 3, names | ISCSISTART)
    old = host.open_session(boot.login)
    iscsid = connect(cmd_sn=1)
    reply = iscsid.send(0, 1, names | {"AuthMethod": "None"})
    assert reply.transit
    reply = iscsid.send(1, 3, ISCSID)
    assert (reply.pairs["HeaderDigest"], reply.pairs["DataDigest"]) == ("None", "None")
    result = iscsid.login.result
    assert (result.action, result.replaces) == (SessionAction.REINSTATE_SESSION, old)
    assert result.tsih not in (0, old)


@pytest.mark.parametrize("opens_in", [0, 1])
def test_libiscsi_in_either_order(connect, names, opens_in):
    initiator = connect(isid=bytes.fromhex("80abcdef0000"))
    if opens_in == 0:
        reply = initiator.send(0, 1, names | {"AuthMethod": "CHAP,None"})
        assert (reply.pairs["AuthMethod"], reply.transit) == ("None", True)
        reply = initiator.send(1, 3, LIBISCSI)
    else:
        reply = initiator.send(1, 3, names | LIBISCSI)
    assert reply.pairs["X-reduce"] == "NotUnderstood"
    assert reply.pairs["HeaderDigest"] == "None"
    assert initiator.login.finished


def test_libiscsi_discovery(connect):
    initiator = connect()
    names = {"InitiatorName": "iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-ls", "SessionType": "Discovery"}
    reply = initiator.send(0, 1, names | {"AuthMethod": "None"})
    assert "TargetPortalGroupTag" not in reply.pairs
    reply = initiator.send(1, 3, LIBISCSI)
    assert reply.pairs["MaxConnections"] == "Irrelevant"
    assert initiator.login.result.discovery


@pytest.mark.parametrize("algorithm", ["5", "6", "7", "8"])
def test_windows_with_chap(connect, chap_names, algorithm):
    initiator = connect(isid=bytes.fromhex("400001370000"), cid=1)
    reply = initiator.send(0, None, chap_names | {"SessionType": "Normal", "AuthMethod": "CHAP,None"})
    assert reply.pairs["AuthMethod"] == "CHAP"
    challenge = initiator.send(0, None, {"CHAP_A": f"{algorithm},5"})
    assert challenge.pairs["CHAP_A"] == algorithm
    proof = {"CHAP_N": "pc-001", "CHAP_R": chap_response(algorithm, challenge, b"a secret of 16 b")}
    assert initiator.send(0, 1, proof).transit
    reply = initiator.send(1, 3, WINDOWS)
    assert (reply.pairs["ErrorRecoveryLevel"], reply.pairs["MaxConnections"]) == ("0", "1")
    assert (reply.pairs["MaxOutstandingR2T"], reply.pairs["InitialR2T"]) == ("1", "No")
    assert initiator.login.result.parameters.max_send_data_segment == 65536


def test_digests_when_the_initiator_prefers_them(connect, names):
    initiator = connect()
    reply = initiator.send(1, 3, names | ISCSISTART | {"HeaderDigest": "CRC32C,None", "DataDigest": "CRC32C"})
    assert (reply.pairs["HeaderDigest"], reply.pairs["DataDigest"]) == ("CRC32C", "CRC32C")
    parameters = initiator.login.result.parameters
    assert (parameters.header_digest, parameters.data_digest) == (True, True)
