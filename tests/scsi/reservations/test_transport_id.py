"""TransportIDs of iSCSI."""

import pytest
from goldherd.errors import CommandError
from goldherd.scsi.reservations.transport_id import decode, encode

PORT = "iqn.2026-11.io.goldherd.node:pc-001,i,0x80123456abcd"


@pytest.mark.parametrize("port", [PORT, "iqn.x,i,0x000000000001"])
def test_what_is_encoded_is_decoded(port: str) -> None:
    data = encode(port)
    assert data[0] == 0x45
    assert len(data) % 4 == 0
    assert len(data) >= 24
    assert int.from_bytes(data[2:4]) == len(data) - 4
    assert decode(b"\xff" + data, 1) == (port, True, len(data))


def test_isid_is_normalised() -> None:
    data = bytes([0x45, 0, 0, 20]) + b"iqn.x,i,0x23D1\x00".ljust(20, b"\x00")
    assert decode(data, 0)[0] == "iqn.x,i,0x0000000023d1"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x45\x00\x00",
        bytes(24),
        encode(PORT)[:-4],
        encode(PORT)[:-1] + b"x",
        bytes([0x45, 0, 0, 20]) + b"iqn.x".ljust(20, b"\x00"),
        bytes([0x05, 0, 0, 4]) + b"\xff\xfe\x00\x00",
        bytes([0x05, 0, 1, 0]) + bytes(256),
        bytes([0x05, 0, 0, 0]),
    ],
)
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(CommandError):
        decode(data, 0)
