"""What the newest libiscsi tests and version 1.19 does not: a test of ours for each, named after it, over a socket."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.targets import PREFIX
from tests.target.daemon import Daemon, running
from tests.target.initiator import ALGORITHMS, Chap, LoginRefusedError, Session, log_in

TARGET, INITIATOR = f"{PREFIX}:export", "iqn.2020-01.com.example:newer"
DISK_BYTES = 16 << 20
AUTHENTICATION_FAILURE = 0x0201
SECRET = b"sixteen byte key"
USERS = ("user", "0xabcdef", "0bQUJD")
"""Two of them look like binary values and are none: a name is text (RFC 7143 12.1.3)."""


def export(folder: Path, *options: object) -> object:
    """`goldherd export` of two disks."""
    disks = []
    for number in range(2):
        disks.append(folder / f"{number}.raw")
        with disks[-1].open("wb") as file:
            file.truncate(DISK_BYTES)
    return running(folder / "log", "--data", folder / "data", "export", *disks, *options)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with export(tmp_path_factory.mktemp("newer")) as daemon:  # type: ignore[attr-defined]
        yield daemon


@pytest.fixture
def session(daemon: Daemon) -> Iterator[Session]:
    """A session with no unit attention left on either unit."""
    with log_in(daemon.portal, TARGET, INITIATOR).make_ready() as session:
        while session.command(bytes(6), lun=1).key[0] == 6:
            pass
        yield session


@pytest.mark.parametrize("differs_at", [0, 1, 511, 512, 1023])
def test_compare_and_write_miscompare_sense(session: Session, differs_at: int) -> None:
    """CompareAndWrite.MiscompareSense: INFORMATION is the offset of the first byte that differs (SBC-3 5.2)."""
    there = bytes(range(256)) * 4
    assert session.write(64, there).status == 0
    expected = bytearray(there)
    expected[differs_at] ^= 0xFF
    cdb = struct.pack(">BBQ3xBxx", 0x89, 0, 64, 2)
    answer = session.command(cdb, write=bytes(expected) + bytes(1024))
    assert (answer.status, answer.key) == (2, (0x0E, 0x1D, 0x00))
    assert answer.sense[0] & 0x80 and int.from_bytes(answer.sense[3:7], "big") == differs_at
    assert session.read(64, 2) == there


def test_extended_copy_large(session: Session) -> None:
    """ExtendedCopy.Large: as many segments as the target takes, over the whole disk."""
    assert session.command(struct.pack(">BBIBHx", 0x41, 0, 0, 0, 32767), write=b"\x5a" * 512).status == 0
    naa = [session.command(bytes([0x12, 1, 0x83, 4, 0, 0]), read=1024, lun=lun).data[8:24] for lun in (0, 1)]
    descriptors = b"".join(
        (bytes([0xE4, 0, 0, 0, 0x01, 0x03, 0, 16]) + one).ljust(28, b"\0") + bytes([0, 0, 2, 0]) for one in naa
    )
    blocks = 32768 // 64
    segments = b"".join(
        struct.pack(">BBHHH2xHQQ", 2, 0, 24, 0, 1, blocks, number * blocks, number * blocks) for number in range(64)
    )
    header = struct.pack(">BBHIII", 1, 0, len(descriptors), 0, len(segments), 0)
    parameters = header + descriptors + segments
    answer = session.command(struct.pack(">BB8xIxx", 0x83, 0, len(parameters)), write=parameters)
    assert answer.status == 0, answer.key
    for lba in (0, 12345, 32766):
        assert session.read(lba, 1, lun=1) == b"\x5a" * 512


def test_inquiry_vpd_page_codes_sorted(session: Session) -> None:
    """Inquiry.VPDPageCodesSorted (SPC-4 7.8.14)."""
    data = session.command(bytes([0x12, 1, 0, 1, 0, 0]), read=256).data
    pages = data[4 : 4 + int.from_bytes(data[2:4], "big")]
    assert list(pages) == sorted(set(pages)) and pages[0] == 0


def test_report_target_port_groups_simple(session: Session) -> None:
    """ReportTargetPortGroups.Simple."""
    data = session.command(struct.pack(">BB4xIxx", 0xA3, 0x0A, 1024), read=1024).data
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    assert (data[4] & 0x0F, data[11]) == (0, 1)  # active/optimized, one port


@pytest.mark.parametrize("allocation", [0, 1, 3, 4, 7, 8, 16, 255])
def test_report_target_port_groups_alloc_length(session: Session, allocation: int) -> None:
    """ReportTargetPortGroups.AllocLength: cut without an error, the length field tells the whole."""
    whole = session.command(struct.pack(">BB4xIxx", 0xA3, 0x0A, 1024), read=1024).data
    answer = session.command(struct.pack(">BB4xIxx", 0xA3, 0x0A, allocation), read=max(allocation, 4))
    assert (answer.status, answer.data) == (0, whole[:allocation])


@pytest.fixture(scope="module", params=USERS)
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, str]]:
    """A target that asks for CHAP, and the user's name."""
    folder = tmp_path_factory.mktemp("chap")
    secret = folder / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    with export(folder, "--chap-user", request.param, "--chap-secret-file", secret) as daemon:  # type: ignore[attr-defined]
        yield daemon, request.param


@pytest.mark.parametrize("base64", [False, True], ids=["hex", "base64"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_iscsi_chap_simple(guarded: tuple[Daemon, str], algorithm: int, base64: bool) -> None:
    """iSCSICHAP.Simple and .HexName: every digest, either way of writing, names that look like numbers."""
    daemon, user = guarded
    chap = Chap(user, SECRET, algorithm, base64=base64)
    with log_in(daemon.portal, TARGET, INITIATOR, chap=chap) as session:
        session.make_ready().inquire()


@pytest.mark.parametrize("base64", [False, True], ids=["hex", "base64"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_iscsi_chap_invalid(guarded: tuple[Daemon, str], algorithm: int, base64: bool) -> None:
    """iSCSICHAP.Invalid: a wrong secret, a wrong name."""
    daemon, user = guarded
    for wrong in (Chap(user, SECRET[:-1] + b"!", algorithm, base64=base64), Chap(f"{user}x", SECRET, algorithm)):
        with pytest.raises(LoginRefusedError) as refusal:
            log_in(daemon.portal, TARGET, INITIATOR, chap=wrong)
        assert refusal.value.status == AUTHENTICATION_FAILURE


@pytest.mark.parametrize("length", [0, 1, 4, 500, 8192])
def test_iscsi_nop_simple(session: Session, length: int) -> None:
    """iSCSINop.Simple: the same tag and the same data come back (RFC 7143 11.19)."""
    data = bytes(number & 0xFF for number in range(length))
    header = struct.pack(">BBxxI8x", 0x40, 0x80, 0) + struct.pack(">IIII", 0x4711, 0xFFFFFFFF, session.cmd_sn, 1)
    session.send(header, data)
    pong = session.take()
    assert (pong.opcode, pong.itt, pong.header[20:24], pong.data) == (0x20, 0x4711, b"\xff" * 4, data)


def test_iscsi_send_targets_simple(daemon: Daemon) -> None:
    """iSCSISendTargets.Simple: All, in a discovery session."""
    with log_in(daemon.portal, None, INITIATOR) as session:
        host, port = daemon.portal
        assert session.text("SendTargets=All\0") == [("TargetName", TARGET), ("TargetAddress", f"{host}:{port},1")]


@pytest.mark.parametrize("value", ["All", "", TARGET])
def test_iscsi_send_targets_invalid(session: Session, value: str) -> None:
    """iSCSISendTargets.Invalid: All in a normal session is answered with its own target."""
    assert session.text(f"SendTargets={value}\0")[0] == ("TargetName", TARGET)


def test_iscsi_send_targets_of_nobody(session: Session) -> None:
    assert session.text("SendTargets=iqn.2020-01.com.example:nobody\0") == []


def test_iscsi_tmf_logout_during_io_async(daemon: Daemon) -> None:
    """iSCSITMF.LogoutDuringIOAsync: a logout among commands that are under way is answered, and ends the session."""
    for turn in range(20):
        with log_in(daemon.portal, TARGET, INITIATOR).make_ready() as session:
            for number in range(32):
                if number % 2:
                    session.start(struct.pack(">BBIBH", 0x28, 0, 0, 0, 512), read=512 * 512)
                else:
                    session.start(struct.pack(">BBIBH", 0x2A, 0, turn, 0, 8), write=bytes(4096))  # data never comes
            session.log_out()
