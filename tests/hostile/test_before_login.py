"""Bytes before any login: whatever comes first, only a Login Request is answered (RFC 7143 6.3)."""

import random
from dataclasses import dataclass

import pytest

from tests.hostile import wire
from tests.hostile.field import NODE, Field
from tests.hostile.wire import pdu


@dataclass(frozen=True)
class First:
    """The first bytes of a connection, and whether a Login Response may come before the end."""

    data: bytes
    answered: bool = False
    half_closed: bool = False


def noise(count: int, seed: int = 1) -> bytes:
    """Bytes without meaning, the same in each run; never a Login Request."""
    made = bytearray(random.Random(seed).randbytes(count))
    made[0] |= 0x20
    return bytes(made)


FIRST = {
    **{f"opcode {opcode:02X}h first": First(pdu(opcode)) for opcode in range(0x40) if opcode != wire.LOGIN},
    **{f"opcode {opcode:02X}h first, immediate": First(pdu(opcode | 0x40)) for opcode in (0, 1, 2, 4, 5, 6, 0x10)},
    "SendTargets before login": First(pdu(wire.TEXT, b"SendTargets=All\0", itt=1, ttt=wire.NO_TAG)),
    "Logout before login": First(pdu(wire.LOGOUT, itt=1)),
    "READ before login": First(pdu(wire.COMMAND, cdb=wire.cdb_read10(0, 8), flags=0xC0, itt=1, edtl=4096)),
    "nothing at all": First(b"", half_closed=True),
    "one byte": First(b"\x43", half_closed=True),
    "47 bytes of a header": First(pdu(wire.LOGIN | 0x40)[:47], half_closed=True),
    "a header whose text never comes": First(pdu(wire.LOGIN | 0x40, length=100), half_closed=True),
    "half of the announced text": First(pdu(wire.LOGIN | 0x40, b"InitiatorName=iqn", length=400), half_closed=True),
    "text without its padding": First(pdu(wire.LOGIN | 0x40, b"abc", length=3)[:51], half_closed=True),
    "noise of 48 bytes": First(noise(48)),
    "noise of 64 KiB": First(noise(65536)),
    "zeros of 64 KiB": First(bytes(65536)),
    "FFh bytes of 64 KiB": First(b"\xff" * 65536),
    "an HTTP request": First(b"GET / HTTP/1.1\r\nHost: target\r\n\r\n" + bytes(32)),
    "a TLS ClientHello": First(bytes.fromhex("16030100a5010000a10303") + noise(160)),
    "an SSH banner": First(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n" + bytes(32)),
    "login with one additional header": First(pdu(wire.LOGIN | 0x40, ahs=bytes(4)), answered=True),
    "login with 1020 bytes of additional headers": First(pdu(wire.LOGIN | 0x40, ahs=bytes(1020)), answered=True),
    "login that announces additional headers": First(pdu(wire.LOGIN | 0x40, ahs_words=255), answered=True),
    "login that announces 8193 bytes": First(pdu(wire.LOGIN | 0x40, length=8193), answered=True),
    "login that announces 16 MiB": First(pdu(wire.LOGIN | 0x40, length=0xFFFFFF), answered=True),
    "login of 16 MiB with additional headers": First(
        pdu(wire.LOGIN | 0x40, length=0xFFFFFF, ahs_words=255), answered=True
    ),
}


@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
def test_first_bytes(field: Field, first: First) -> None:
    with field.connect() as client:
        client.send(first.data)
        if first.half_closed:
            client.socket.shutdown(1)
        answers = client.until_gone()
    assert [answer.opcode for answer in answers] == ([wire.LOGIN_RESPONSE] if first.answered else [])
    assert all(answer.login_status >> 8 == 2 for answer in answers), "an initiator error"


@pytest.mark.parametrize("opcode", [wire.COMMAND, wire.TEXT, wire.LOGOUT, wire.DATA_OUT, wire.NOP_OUT, wire.SNACK])
def test_another_opcode_between_two_login_requests(field: Field, opcode: int) -> None:
    """020Bh: invalid during login (RFC 7143 11.13.5)."""
    with field.connect() as client:
        names = wire.text(InitiatorName=field.herd.initiator(NODE), TargetName=field.herd.iqn(NODE))
        assert client.login(names, flags=0x04).login_status == 0
        client.send(pdu(opcode))
        (answer,) = client.until_gone()
    assert answer.login_status == 0x020B
