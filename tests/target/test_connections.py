"""Several connections in one session (MC/S, RFC 7143 4.2.1), over real sockets: joining, order, logout, replacement."""

import signal
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.targets import PREFIX
from tests.target.daemon import Daemon, Herd
from tests.target.initiator import (
    ALGORITHMS,
    Chap,
    LoginPhase,
    LoginRefusedError,
    Session,
    connect,
    log_in,
)

PATTERN = b"\xa5" * 4096
MANY = {"MaxConnections": "4"}
TOO_MANY, ABSENT = 0x0206, 0x020A
CLOSE_CONNECTION = 1


@contextmanager
def connections(herd: Herd, count: int, *options: object) -> Iterator[tuple[Daemon, list[Session]]]:
    """A daemon, and that many connections of one session of pc-001 with the CIDs 0, 1, ..."""
    with herd.serve("--connections-max", 4, *options) as daemon, ExitStack() as stack:
        first = stack.enter_context(daemon.log_in("pc-001", keys=MANY))
        others = [stack.enter_context(daemon.log_in("pc-001", joins=first, cid=cid)) for cid in range(1, count)]
        yield daemon, [first, *others]


def sessions_of(herd: Herd) -> list[int]:
    """How many connections each session has."""
    return [session["connections"] for session in herd.status()["daemon"]["sessions"]]


def wait_for(condition: object, what: str) -> None:
    """Until it holds: what a daemon does after it has answered."""
    deadline = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.parametrize("reactors", [0, 1, 2])
def test_every_connection_serves_commands(herd: Herd, reactors: int) -> None:
    with connections(herd, 4, "--reactors", reactors) as (_, ends):
        assert {end.tsih for end in ends} == {ends[0].tsih}
        assert sessions_of(herd) == [4]
        for number, end in enumerate(ends):
            assert end.write(8 * number, bytes([number]) * 4096).status == 0
        for number, end in enumerate(reversed(ends)):
            assert end.read(8 * number, 8) == bytes([number]) * 4096


def test_one_connection_is_the_default(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001", keys=MANY) as first:
        assert first.agreed["MaxConnections"] == "1"
        with pytest.raises(LoginRefusedError) as refusal:
            daemon.log_in("pc-001", joins=first, cid=1)
        assert refusal.value.status == TOO_MANY
        first.inquire()


def test_the_smaller_number_of_connections_counts(herd: Herd) -> None:
    with herd.serve("--connections-max", 4) as daemon, daemon.log_in("pc-001", keys={"MaxConnections": "2"}) as first:
        assert first.agreed["MaxConnections"] == "2"
        with daemon.log_in("pc-001", joins=first, cid=1), pytest.raises(LoginRefusedError) as refusal:
            daemon.log_in("pc-001", joins=first, cid=2)
        assert refusal.value.status == TOO_MANY


def test_commands_are_delivered_in_order(herd: Herd) -> None:
    """Ten writes to one block, their numbers dealt out to two connections, the later half sent first."""
    with connections(herd, 2) as (_, (first, second)):
        numbers = range(first.cmd_sn, first.cmd_sn + 10)
        for end in (second, first):
            for number in numbers:
                if (number % 2 == 0) == (end is second):
                    data = bytes([number & 0xFF]) * 512
                    end.start(struct.pack(">BBIBH", 0x2A, 0, 5, 0, 1), write=data, immediate=512, cmd_sn=number)
        for end in (first, second):
            for _ in range(5):
                assert end.take().header[3] == 0
        first.cmd_sn += 10
        assert first.read(5, 1) == bytes([numbers[-1] & 0xFF]) * 512


def test_nobody_joins_after_a_connection_was_lost(herd: Herd) -> None:
    """At ErrorRecoveryLevel 0 the session has ended with it."""
    with connections(herd, 2) as (daemon, (first, second)):
        second.socket.close()
        assert first.ended()
        with pytest.raises(LoginRefusedError) as refusal:
            daemon.log_in("pc-001", joins=first, cid=1)
        assert refusal.value.status == ABSENT


def test_exp_cmd_sn_of_a_joining_login(herd: Herd) -> None:
    """It is the session's, whatever number the login request has."""
    with herd.serve("--connections-max", 2) as daemon, daemon.log_in("pc-001", keys=MANY) as first:
        for _ in range(20):
            first.inquire()
        with connect(daemon.portal) as raw:
            joining = LoginPhase(Session(raw), first.isid, first.tsih, 1, first.cmd_sn + 5)
            names = {"InitiatorName": f"{PREFIX}.node:pc-001", "TargetName": f"{PREFIX}:pc-001"}
            last, _ = joining.ask(0x87, names)
            assert int.from_bytes(last.header[28:32], "big") == first.cmd_sn
            assert int.from_bytes(last.header[32:36], "big") == first.cmd_sn + 127


def test_security_responses_of_a_joining_login_tell_no_window(herd: Herd) -> None:
    """Before the proof nobody learns anything of a session: MaxCmdSN below ExpCmdSN - 1 says "ignore both"."""
    with connections(herd, 1) as (daemon, (first,)), connect(daemon.portal) as raw:
        joining = LoginPhase(Session(raw), first.isid, first.tsih, 1, first.cmd_sn)
        names = {"InitiatorName": f"{PREFIX}.node:pc-001", "TargetName": f"{PREFIX}:pc-001", "AuthMethod": "None"}
        answer, _ = joining.ask(0x00, names)
        expected, most = struct.unpack(">II", answer.header[28:36])
        assert most == expected - 2


@pytest.mark.parametrize("closed", [0, 1])
def test_logout_of_the_own_connection(herd: Herd, closed: int) -> None:
    with connections(herd, 2) as (_, ends):
        leaving, staying = ends[closed], ends[1 - closed]
        assert leaving.ask_to_log_out(CLOSE_CONNECTION, leaving.cid) == 0
        assert leaving.ended()
        assert staying.write(8, PATTERN).status == 0
        wait_for(lambda: sessions_of(herd) == [1], "the connection is still counted")


def test_logout_of_another_connection(herd: Herd) -> None:
    with connections(herd, 3) as (_, (first, second, third)):
        assert first.ask_to_log_out(CLOSE_CONNECTION, second.cid) == 0
        assert second.ended()
        assert third.read(0, 1) is not None
        assert sessions_of(herd) == [2]


def test_logout_of_a_connection_that_is_not_there(herd: Herd) -> None:
    with connections(herd, 2) as (_, (first, second)):
        assert first.ask_to_log_out(CLOSE_CONNECTION, 9) == 1
        assert second.read(0, 1) is not None


def test_logout_of_the_last_connection_ends_the_session(herd: Herd) -> None:
    with connections(herd, 2) as (_, (first, second)):
        assert first.ask_to_log_out(CLOSE_CONNECTION, 0) == 0
        assert second.ask_to_log_out(CLOSE_CONNECTION, 1) == 0
        assert first.ended() and second.ended()
        wait_for(lambda: sessions_of(herd) == [], "the session is still there")


def test_logout_of_the_session_closes_all(herd: Herd) -> None:
    with connections(herd, 4) as (_, ends):
        assert ends[2].ask_to_log_out() == 0
        assert all(end.ended() for end in ends)


def test_a_lost_connection_ends_the_session(herd: Herd) -> None:
    """At ErrorRecoveryLevel 0 the session is recovered, not the connection (RFC 7143 7.1.4.4)."""
    with connections(herd, 3) as (_, (first, second, third)):
        second.socket.close()
        assert first.ended() and third.ended()
        wait_for(lambda: sessions_of(herd) == [], "the session is still there")


def test_a_connection_is_replaced(herd: Herd) -> None:
    with connections(herd, 3) as (daemon, (first, second, third)):
        second.start(struct.pack(">BBIBH", 0x2A, 0, 8, 0, 8), write=PATTERN)  # its data is never sent
        with daemon.log_in("pc-001", joins=first, cid=1) as again:
            assert again.tsih == first.tsih
            assert again.read(8, 8) != PATTERN
            assert third.read(0, 1) == first.read(0, 1)
            assert sessions_of(herd) == [3]


def test_a_long_command_of_a_replaced_connection_writes_nothing_more(herd: Herd) -> None:
    last = (16 << 20) // 512 - 1
    with connections(herd, 2) as (daemon, (first, second)):
        second.start(struct.pack(">BBQIxx", 0x93, 0, 0, last + 1), write=b"\x77" * 512, immediate=512)
        with daemon.log_in("pc-001", joins=first, cid=1) as again:
            assert again.write(last, b"\xa5" * 512).status == 0
            assert first.flush().status == 0
            assert again.read(last, 1) == b"\xa5" * 512


def test_the_only_connection_is_replaced_again_and_again(herd: Herd) -> None:
    with herd.serve() as daemon, ExitStack() as stack:
        first = end = stack.enter_context(daemon.log_in("pc-001"))
        for number in range(20):
            assert end.write(8, bytes([number]) * 4096).status == 0
            before, end = end, stack.enter_context(daemon.log_in("pc-001", joins=first))
            assert before.ended()
            assert end.read(8, 8) == bytes([number]) * 4096
        assert sessions_of(herd) == [1]


def test_digests_are_agreed_for_each_connection(herd: Herd) -> None:
    with connections(herd, 1) as (daemon, (first,)):
        joined = log_in(
            daemon.portal,
            f"{PREFIX}:pc-001",
            f"{PREFIX}.node:pc-001",
            joins=first,
            cid=1,
            keys={"DataDigest": "CRC32C", "MaxRecvDataSegmentLength": "512"},
        )
        with joined as second:
            second.start(struct.pack(">BBIBH", 0x28, 0, 0, 0, 2), read=1024)
            whole = b"".join(second._exactly(48 + 512 + 4) for _ in range(2))
            assert whole[5:8] == (512).to_bytes(3, "big")
        assert first.agreed.get("DataDigest") == "None"


def test_nobody_else_joins_a_session(herd: Herd) -> None:
    with connections(herd, 1) as (daemon, (first,)):
        for initiator, isid in ((f"{PREFIX}.node:pc-002", first.isid), (f"{PREFIX}.node:pc-001", bytes(6))):
            with pytest.raises(LoginRefusedError):
                log_in(daemon.portal, f"{PREFIX}:pc-001", initiator, isid=isid, tsih=first.tsih, cid=1)
        with pytest.raises(LoginRefusedError) as refusal:
            log_in(
                daemon.portal, f"{PREFIX}:pc-001", f"{PREFIX}.node:pc-001", isid=first.isid, tsih=first.tsih + 1, cid=1
            )
        assert refusal.value.status == ABSENT
        first.inquire()


def test_each_connection_proves_who_it_is(herd: Herd, tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("secret") / "secret"
    secret.write_bytes(b"a secret of 16 b")
    secret.chmod(0o600)
    herd.do("node", "add", "pc-009", "--image", "lab", "--chap-user", "me", "--chap-secret-file", secret)
    chap = Chap("me", b"a secret of 16 b")
    assert chap.algorithm in ALGORITHMS
    with herd.serve("--connections-max", 2) as daemon, daemon.log_in("pc-009", chap=chap, keys=MANY) as first:
        with pytest.raises(LoginRefusedError):
            daemon.log_in("pc-009", joins=first, cid=1)
        first.inquire()
        with daemon.log_in("pc-009", joins=first, cid=1, chap=chap) as second:
            second.inquire()


def test_shutdown_asks_every_connection_to_log_out(herd: Herd) -> None:
    with connections(herd, 2) as (daemon, ends):
        daemon.process.send(signal.SIGTERM)
        for end in ends:
            assert end.receive().opcode == 0x32
        assert ends[0].ask_to_log_out() == 0


def test_a_pending_command_is_aborted_from_another_connection(herd: Herd) -> None:
    with connections(herd, 2) as (_, (first, second)):
        itt = first.start(struct.pack(">BBIBH", 0x2A, 0, 8, 0, 8), write=PATTERN)
        assert second.manage(1, itt=itt, ref_cmd_sn=first.cmd_sn - 1) == 0
        assert second.manage(1, itt=itt, ref_cmd_sn=first.cmd_sn - 1) == 1
        assert first.read(8, 8) != PATTERN


def test_a_lost_number_is_plugged_by_abort_task(herd: Herd) -> None:
    with connections(herd, 2) as (_, (first, second)):
        lost = first.cmd_sn
        second.start(b"\x12\0\0\0\x60", read=0x60, cmd_sn=lost + 1)
        first.cmd_sn = lost + 2
        assert first.manage(1, itt=0x7777, ref_cmd_sn=lost) == 0
        assert second.take().opcode == 0x25
        assert first.read(0, 1) is not None
