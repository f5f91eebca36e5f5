"""The headers of the control plane lie where RFC 7143 section 11 says."""

import pytest
from goldherd.errors import ProtocolError
from goldherd.wire import header

HEADERS = [kind for kind in vars(header).values() if isinstance(kind, type) and issubclass(kind, header.Header)]
HEADERS.remove(header.Header)


@pytest.mark.parametrize("kind", HEADERS, ids=lambda kind: kind.__name__)
def test_header_is_48_bytes_and_comes_back(kind):
    raw = bytes(range(1, 49))
    fields = kind.read(raw)
    packed = fields.pack()
    assert len(packed) == 48
    # Reserved bytes are sent as zero; every other byte is where it was.
    assert all(after in (before, 0) for before, after in zip(raw, packed, strict=True))
    assert kind.read(packed) == fields


@pytest.mark.parametrize(
    ("fields", "offset", "value"),
    [
        (header.LoginRequest(isid=b"isidis", tsih=0x0102), 8, b"isidis\x01\x02"),
        (header.LoginRequest(cid=0x0102), 20, b"\x01\x02\0\0"),
        (header.LoginRequest(cmd_sn=1, exp_stat_sn=2), 24, b"\0\0\0\x01\0\0\0\x02"),
        (header.LoginResponse(stat_sn=1, exp_cmd_sn=2, max_cmd_sn=3), 24, b"\0\0\0\x01\0\0\0\x02\0\0\0\x03"),
        (header.LoginResponse(status_class=2, status_detail=7), 36, b"\x02\x07"),
        (header.TextRequest(itt=1, ttt=2), 16, b"\0\0\0\x01\0\0\0\x02"),
        (header.TextResponse(stat_sn=9), 24, b"\0\0\0\x09"),
        (header.LogoutRequest(cid=0x0102), 20, b"\x01\x02"),
        (header.LogoutResponse(response=1), 2, b"\x01"),
        (header.LogoutResponse(time2wait=2, time2retain=20), 40, b"\0\x02\0\x14"),
        (header.NopIn(ttt=5), 20, b"\0\0\0\x05"),
        (header.TaskManagementRequest(referenced_tag=1), 20, b"\0\0\0\x01"),
        (header.TaskManagementRequest(ref_cmd_sn=1, exp_data_sn=2), 32, b"\0\0\0\x01\0\0\0\x02"),
        (header.TaskManagementResponse(response=255), 2, b"\xff"),
        (header.AsyncMessage(event=1, parameter3=5), 36, b"\x01\0\0\0\0\0\0\x05"),
        (header.Reject(reason=9), 2, b"\x09"),
    ],
)
def test_field_lies_where_the_standard_says(fields, offset, value):
    assert fields.pack()[offset : offset + len(value)] == value


def test_pdu_is_padded_and_says_its_length():
    pdu = header.pdu(header.TextResponse(), b"A=1\0B")
    assert len(pdu) == 48 + 8
    assert header.segment_bytes(pdu) == (0, 5)
    assert pdu[48:] == b"A=1\0B\0\0\0"


def test_reject_carries_the_refused_header():
    refused = header.TextRequest(itt=3).pack()
    pdu = header.reject(4, refused)
    assert header.Reject.read(pdu[:48]).itt == 0xFFFFFFFF
    assert pdu[48:] == refused


def test_header_of_another_size():
    with pytest.raises(ProtocolError):
        header.LoginRequest.read(bytes(47))
