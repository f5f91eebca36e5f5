"""Login Requests that break the rules of stages, texts, names and session identity (RFC 7143 6, 11.12)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import pytest

from tests.hostile import wire
from tests.hostile.client import Client, Gone
from tests.hostile.field import NODE, Field
from tests.hostile.wire import text

SECURITY, OPERATIONAL, RESERVED, FULL_FEATURE = 0, 1, 2, 3
INITIATOR_ERROR, NOT_FOUND, VERSION, MISSING, TYPE, ABSENT = 0x0200, 0x0203, 0x0205, 0x0207, 0x0209, 0x020A
SUCCESS: Final = 0
TRANSIT, CONTINUE = 0x80, 0x40


def flags(csg: int, nsg: int = 0, *, transit: bool = True, goes_on: bool = False) -> int:
    """Byte 1 of a Login Request."""
    return (TRANSIT if transit else 0) | (CONTINUE if goes_on else 0) | csg << 2 | nsg


WHOLE = flags(OPERATIONAL, FULL_FEATURE)


@dataclass(frozen=True)
class Try:
    """One Login Request that is refused, or survived.

    Without `data` the text is the names of the node under attack and `more`.
    """

    status: int
    flags: int = WHOLE
    data: bytes | None = None
    more: bytes = b""
    fields: tuple[tuple[str, int], ...] = ()


def stages() -> dict[str, Try]:
    """Every pair of stages that is no legal move."""
    legal = {(SECURITY, OPERATIONAL), (SECURITY, FULL_FEATURE), (OPERATIONAL, FULL_FEATURE)}
    return {
        f"T from stage {csg} to {nsg}": Try(INITIATOR_ERROR, flags(csg, nsg))
        for csg in range(4)
        for nsg in range(4)
        if (csg, nsg) not in legal
    } | {f"stage {csg} without T": Try(INITIATOR_ERROR, flags(csg, transit=False)) for csg in (RESERVED, FULL_FEATURE)}


HEADERS = stages() | {
    "T and C together": Try(INITIATOR_ERROR, WHOLE | CONTINUE),
    "version 1 and up": Try(VERSION, fields=(("byte2", 1), ("byte3", 1))),
    "version 255 and up": Try(VERSION, fields=(("byte2", 255), ("byte3", 255))),
    "minimum above maximum": Try(VERSION, fields=(("byte2", 0), ("byte3", 5))),
    "maximum version 255": Try(SUCCESS, fields=(("byte2", 255),)),
    "TSIH of no session": Try(ABSENT, fields=(("tsih", 0xFFFF),)),
    "TSIH 1, guessed": Try(ABSENT, fields=(("tsih", 1),)),
    "CID FFFFh": Try(SUCCESS, fields=(("cid", 0xFFFF),)),
    "ISID of zeros": Try(SUCCESS, fields=(("isid", 0),)),
    "ISID of ones": Try(SUCCESS, fields=(("isid", 0xFFFFFFFFFFFF),)),
    "reserved Initiator Task Tag": Try(SUCCESS, fields=(("itt", wire.NO_TAG),)),
    "CmdSN FFFFFFFFh": Try(SUCCESS, fields=(("cmd_sn", 0xFFFFFFFF),)),
    "ExpStatSN FFFFFFFFh": Try(SUCCESS, fields=(("exp_stat_sn", 0xFFFFFFFF),)),
    "reserved bits 0x30 of byte 1": Try(SUCCESS, WHOLE | 0x30),
}

IQN = "iqn.2026-11.io.goldherd"
TEXTS = {
    "no text at all": Try(MISSING, data=b""),
    "a NUL and nothing else": Try(MISSING, data=b"\0"),
    "8192 NULs": Try(MISSING, data=bytes(8192)),
    "no InitiatorName": Try(MISSING, data=text(TargetName=f"{IQN}:pc-1")),
    "no TargetName": Try(MISSING, data=text(InitiatorName=f"{IQN}.node:pc-1")),
    "no NUL at the end": Try(INITIATOR_ERROR, data=b"InitiatorName=iqn.2026-11.io.goldherd:a"),
    "no '='": Try(INITIATOR_ERROR, more=b"HeaderDigest\0"),
    "only '='": Try(INITIATOR_ERROR, more=b"=\0"),
    "no key before '='": Try(INITIATOR_ERROR, more=b"=None\0"),
    "an empty line between two keys": Try(INITIATOR_ERROR, more=b"\0HeaderDigest=None\0"),
    "a key of 64 bytes": Try(INITIATOR_ERROR, more=b"X" * 64 + b"=1\0"),
    "a key of 8000 bytes": Try(INITIATOR_ERROR, more=b"X" * 8000 + b"=1\0"),
    "a key with a blank": Try(INITIATOR_ERROR, more=b"Header Digest=None\0"),
    "a key with an umlaut": Try(INITIATOR_ERROR, more="Schlüssel=1\0".encode()),
    "a value of 256 bytes": Try(INITIATOR_ERROR, more=b"InitiatorAlias=" + b"a" * 256 + b"\0"),
    "a value that is not UTF-8": Try(INITIATOR_ERROR, more=b"InitiatorAlias=\xff\xfe\xc3(\0"),
    "a value with an overlong encoding": Try(INITIATOR_ERROR, more=b"InitiatorAlias=\xc0\xaf\0"),
    "a value with a surrogate": Try(INITIATOR_ERROR, more=b"InitiatorAlias=\xed\xa0\x80\0"),
    "a value with control characters": Try(INITIATOR_ERROR, more=b"InitiatorAlias=\x1b[2J\r\n\0"),
    "a value with '='": Try(SUCCESS, more=b"InitiatorAlias=a=b=c\0"),
    "format characters": Try(SUCCESS, more=b"InitiatorAlias=%s%n%x{0}{name}$(reboot)`id`\0"),
    "a key twice": Try(INITIATOR_ERROR, more=b"HeaderDigest=None\0HeaderDigest=CRC32C\0"),
    "a key 500 times": Try(INITIATOR_ERROR, more=b"HeaderDigest=None\0" * 400),
    "257 keys": Try(INITIATOR_ERROR, more=b"".join(b"X-%d=1\0" % number for number in range(257))),
    "200 unknown keys": Try(SUCCESS, more=b"".join(b"X-%d=1\0" % number for number in range(200))),
    "InitiatorName twice": Try(INITIATOR_ERROR, more=text(InitiatorName=f"{IQN}.node:pc-2")),
    "TargetName twice": Try(INITIATOR_ERROR, more=text(TargetName=f"{IQN}:pc-2")),
    "SessionType unknown": Try(TYPE, more=text(SessionType="Root")),
    "SessionType empty": Try(TYPE, more=b"SessionType=\0"),
    "a digest nobody knows": Try(SUCCESS, more=text(HeaderDigest="MD5", DataDigest="ROT13")),
    "a list of 250 commas": Try(SUCCESS, more=b"HeaderDigest=" + b"," * 250 + b"\0"),
    "keys that only a target may send": Try(INITIATOR_ERROR, more=b"TargetPortalGroupTag=9\0TargetAddress=1.2.3.4\0"),
    "SendTargets during login": Try(INITIATOR_ERROR, more=text(SendTargets="All")),
    "AuthMethod in the operational stage": Try(INITIATOR_ERROR, more=text(AuthMethod="None")),
    "CHAP keys that nobody asked for": Try(SUCCESS, more=b"CHAP_A=5\0CHAP_N=a\0CHAP_R=0x00\0"),
}

NUMBERS = {
    f"{key}={value[:24]}": Try(SUCCESS, more=f"{key}={value}\0".encode())
    for key in ("MaxRecvDataSegmentLength", "MaxBurstLength", "FirstBurstLength", "MaxOutstandingR2T")
    for value in ("0", "-1", "511", "16777216", "18446744073709551616", "9" * 200, "0x", "", "1e9", " 512", "NaN")
} | {
    f"{key}={value}": Try(SUCCESS, more=f"{key}={value}\0".encode())
    for key, value in {
        "MaxConnections": "0",
        "ErrorRecoveryLevel": "3",
        "DefaultTime2Wait": "3601",
        "InitialR2T": "Perhaps",
        "ImmediateData": "yes",
        "DataPDUInOrder": "No",
        "iSCSIProtocolLevel": "32",
        "TaskReporting": "None",
        "OFMarkInt": "1~65535",
    }.items()
}

NAMES = {
    "empty": b"",
    "300 characters": b"iqn.2026-11.io.goldherd:" + b"a" * 276,
    "224 bytes": b"iqn.2026-11.io.goldherd:" + b"a" * 200,
    "not UTF-8": b"iqn.2026-11.io.goldherd:\xff\xfe",
    "control characters": b"iqn.2026-11.io.goldherd:a\x01b\x7f",
    "a newline": b"iqn.2026-11.io.goldherd:a\nroot",
    "a path": b"../../../../etc/passwd",
    "a path in an iqn": b"iqn.2026-11.io.goldherd:../../catalog.db",
    "a glob": b"*",
    "a glob in an iqn": b"iqn.2026-11.io.goldherd:pc-*",
    "a regular expression": b"iqn.2026-11.io.goldherd:(a+)+$",
    "SQL": b"iqn.2026-11.io.goldherd:' OR 1=1 --",
    "format characters": b"iqn.2026-11.io.goldherd:%s%s%n",
    "blanks": b"iqn.2026-11.io.goldherd:a b",
    "only blanks": b"   ",
    "no date": b"iqn.io.goldherd:pc-1",
    "month 13": b"iqn.2026-13.io.goldherd:pc-1",
    "eui of 15 digits": b"eui.02004567A425678",
    "naa of 17 digits": b"naa.52004567BA64678D1",
    "an unknown type": b"wwn.5000c50015ea71ac",
    "a bidirectional override": "iqn.2026-11.io.goldherd:\u202egnp.1".encode(),
    "right to left": "iqn.2026-11.io.goldherd:שלום".encode(),
    "an ideographic full stop": "iqn.2026-11.io。goldherd:pc".encode(),
    "what grows when it is normalised": b"iqn.2026-11.io.goldherd:" + "\ufdfa".encode() * 60,
    "an unassigned character": "iqn.2026-11.io.goldherd:\u0378".encode(),
}


def attempt(client: Client, field: Field, given: Try) -> int:
    """Sends it; the status of the answer, which ends the connection unless it is success."""
    names = text(InitiatorName=field.herd.initiator(NODE), TargetName=field.herd.iqn(NODE))
    data = names + given.more if given.data is None else given.data
    answer = client.login(data, flags=given.flags, **dict(given.fields))
    assert answer.opcode == wire.LOGIN_RESPONSE
    if answer.login_status:
        assert client.until_gone() == []
    return answer.login_status


@pytest.mark.parametrize("given", HEADERS.values(), ids=HEADERS)
def test_header(field: Field, given: Try) -> None:
    with field.connect() as client:
        assert attempt(client, field, given) == given.status


@pytest.mark.parametrize("given", TEXTS.values(), ids=TEXTS)
def test_text(field: Field, given: Try) -> None:
    with field.connect() as client:
        assert attempt(client, field, given) == given.status


@pytest.mark.parametrize("given", NUMBERS.values(), ids=NUMBERS)
def test_value_out_of_range(field: Field, given: Try) -> None:
    """Never taken over: answered Reject, or the login is refused (RFC 7143 6.2)."""
    with field.connect() as client:
        assert attempt(client, field, given) in (SUCCESS, INITIATOR_ERROR)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("key", ["InitiatorName", "TargetName"])
def test_name(field: Field, key: str, name: bytes) -> None:
    """A name is looked up whole or refused, and never means anything else."""
    names = {
        "InitiatorName": field.herd.initiator(NODE).encode(),
        "TargetName": field.herd.iqn(NODE).encode(),
        key: name,
    }
    data = b"".join(given.encode() + b"=" + value + b"\0" for given, value in names.items())
    with field.connect() as client:
        assert client.login(data).login_status in (INITIATOR_ERROR, NOT_FOUND)
        assert client.until_gone() == []


def test_a_node_that_is_somebody_elses_looks_absent(field: Field) -> None:
    with field.connect() as client:
        names = text(InitiatorName=field.herd.initiator(NODE), TargetName=field.herd.iqn("pc-2"))
        assert client.login(names).login_status == NOT_FOUND


def test_a_target_that_does_not_exist(field: Field) -> None:
    with field.connect() as client:
        names = text(InitiatorName=field.herd.initiator(NODE), TargetName=f"{IQN}:no-such-node")
        assert client.login(names).login_status == NOT_FOUND


# --- logins of several requests ---


def rounds(client: Client, field: Field, requests: Sequence[tuple[int, bytes, dict[str, int]]]) -> int:
    """Sends requests until one is refused; its status, or 0."""
    for csg_flags, data, fields in requests:
        try:
            answer = client.login(data, flags=csg_flags, **fields)
        except Gone:
            return -1
        if answer.login_status:
            return answer.login_status
    return 0


OPEN = flags(OPERATIONAL, transit=False)
MORE = flags(OPERATIONAL, transit=False, goes_on=True)

Request = tuple[int, bytes, dict[str, int]]
Requests = Callable[[bytes], Sequence[Request]]
EMPTY: Final[Request] = (OPEN, b"", {})
LONG: Final[Request] = (MORE, b"X" * 8192, {})
ROUNDS: dict[str, Requests] = {
    "33 rounds without end": lambda names: [(OPEN, names, {}), *[EMPTY] * 40],
    "text of more than 64 KiB by C": lambda names: [(MORE, names, {}), *[LONG] * 12],
    "C without end, nothing in it": lambda _: [(MORE, b"", {})] * 40,
    "a key split over 40 requests": lambda _: [(MORE, b"a", {})] * 40,
    "the stage goes back": lambda names: [
        (flags(SECURITY, OPERATIONAL), names, {}),
        (flags(SECURITY, OPERATIONAL), b"", {}),
    ],
    "the stage jumps without T": lambda names: [(flags(SECURITY, transit=False), names, {}), (WHOLE, b"", {})],
    "the Initiator Task Tag changes": lambda names: [(OPEN, names, {}), (WHOLE, b"", {"itt": 9})],
    "the ISID changes": lambda names: [(OPEN, names, {}), (WHOLE, b"", {"isid": 9})],
    "the TSIH changes": lambda names: [(OPEN, names, {}), (WHOLE, b"", {"tsih": 9})],
    "the CID changes": lambda names: [(OPEN, names, {}), (WHOLE, b"", {"cid": 9})],
    "the CmdSN changes": lambda names: [(OPEN, names, {}), (WHOLE, b"", {"cmd_sn": 9})],
    "the InitiatorName comes again": lambda names: [(OPEN, names, {}), (WHOLE, names, {})],
    "another InitiatorName comes later": lambda names: [
        (OPEN, names, {}),
        (WHOLE, text(InitiatorName=f"{IQN}.node:pc-2"), {}),
    ],
    "another TargetName comes later": lambda names: [
        (OPEN, names, {}),
        (WHOLE, text(TargetName=f"{IQN}:pc-2"), {}),
    ],
    "a key comes again in the next request": lambda names: [
        (OPEN, names + b"MaxBurstLength=512\0", {}),
        (WHOLE, b"MaxBurstLength=1024\0", {}),
    ],
    "the stage is 3 in the second request": lambda names: [(OPEN, names, {}), (flags(FULL_FEATURE), b"", {})],
}


@pytest.mark.parametrize("requests", ROUNDS.values(), ids=ROUNDS)
def test_rounds(field: Field, requests: Requests) -> None:
    names = text(InitiatorName=field.herd.initiator(NODE), TargetName=field.herd.iqn(NODE))
    with field.connect() as client:
        assert rounds(client, field, requests(names)) == INITIATOR_ERROR
        assert client.until_gone() == []
