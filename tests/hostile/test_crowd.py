"""Too many at once: silent connections, failing logins, reinstatement storms.

Both sides of the largest crowd need a descriptor for each connection; where the system grants fewer (ulimit -Hn), the
crowd is as large as that allows.
"""

import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final

import pytest

from tests.hostile import wire
from tests.hostile.client import Client, Gone
from tests.hostile.field import NODE, Field
from tests.hostile.wire import text

CROWD_MAX: Final = 10_000
SPARE_DESCRIPTORS: Final = 5000
"""What test and server need for other things; the server keeps 4,096 for disks and sessions."""
FAILURES: Final = 58
"""More than an address has free."""
PER_ADDRESS: Final = 500


@pytest.fixture
def crowd(field: Field) -> Iterator[ExitStack]:
    """Holds connections until the case is over."""
    with ExitStack() as stack:
        yield stack


def silent(field: Field, crowd: ExitStack, count: int) -> list[Client]:
    """Connections that say nothing, some hundred from each address."""
    sources = [field.source() for _ in range(-(-count // PER_ADDRESS))]
    return [crowd.enter_context(field.connect(sources[n // PER_ADDRESS])) for n in range(count)]


def closed(client: Client) -> bool:
    """Whether the target ended it, without waiting for it."""
    client.socket.setblocking(False)
    try:
        return client.socket.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def crowd_size() -> int:
    """As many connections as can be held, after asking the system for all it grants."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return min(CROWD_MAX, max(most - SPARE_DESCRIPTORS, most // 3))


def test_idle_connections_delay_nobody(field: Field, crowd: ExitStack) -> None:
    clients = silent(field, crowd, crowd_size())
    field.check_unhurt()
    assert not any(closed(client) for client in clients), "each address is below its limit"


def test_idle_connections_that_began_to_speak(field: Field, crowd: ExitStack) -> None:
    for client in silent(field, crowd, 500):
        client.send(wire.pdu(wire.LOGIN | wire.IMMEDIATE, length=8192)[:47])
    field.check_unhurt()


def test_more_connections_than_an_address_may_have(field: Field, crowd: ExitStack) -> None:
    """The oldest goes, the newest is served."""
    source = field.source()
    clients = [crowd.enter_context(field.connect(source)) for _ in range(1100)]
    with field.enter(NODE, source) as newest:
        assert not newest.until_pong()
    assert clients[0].until_gone() == []
    assert not closed(clients[-1])


def test_idle_sessions(field: Field, crowd: ExitStack) -> None:
    """300 sessions of one node that do nothing."""
    for _ in range(300):
        crowd.enter_context(field.enter(NODE))
    field.check_unhurt()


def test_failing_logins_wait_and_others_do_not(field: Field) -> None:
    """After a number of failures the answer is delayed; what is seen is the log, not a clock."""
    source = field.source()
    names = text(InitiatorName=field.herd.initiator(NODE), TargetName=f"{field.herd.iqn(NODE)}-absent")
    for _ in range(FAILURES):
        with field.connect(source) as client:
            assert client.login(names).login_status == 0x0203
    field.check_unhurt()
    refused = [line for line in field.log.read_text().splitlines() if f"{source}:" in line]
    delays = [float(line.split("delay_seconds=")[1].split()[0]) for line in refused if "refused" in line]
    assert len(delays) == FAILURES
    assert delays[0] == 0 and delays == sorted(delays) and delays[-1] > 0
    with field.enter(NODE, source) as client:
        assert not client.until_pong(), "who knows the right names gets in all the same"


def test_many_fail_at_once(field: Field) -> None:
    """64 at the same time, each refused; nobody else waits for them."""
    source = field.source()
    names = text(InitiatorName=field.herd.initiator(NODE), TargetName=f"{field.herd.iqn(NODE)}-absent")

    def fail() -> int:
        with field.connect(source) as client:
            return client.login(names).login_status

    with ThreadPoolExecutor(64) as pool:
        answers = [pool.submit(fail) for _ in range(128)]
        field.check_unhurt()
        assert {answer.result() for answer in answers} == {0x0203}


# --- reinstatement ---


def test_reinstatement_storm_one_after_the_other(field: Field) -> None:
    """Each login with the same ISID ends the session before it (RFC 7143 6.3.5)."""
    initiator, target = field.herd.initiator(NODE), field.herd.iqn(NODE)
    before: Client | None = None
    for _ in range(200):
        client = field.connect()
        client.enter(initiator, target, isid=0x515253)
        if before is not None:
            before.until_gone()
            before.socket.close()
        before = client
    assert before is not None and not before.until_pong()
    before.socket.close()


def test_reinstatement_storm_at_once(field: Field, crowd: ExitStack) -> None:
    """40 logins with one ISID at the same time: one session is left, and it lives."""
    names = text(InitiatorName=field.herd.initiator(NODE), TargetName=field.herd.iqn(NODE))
    clients = [crowd.enter_context(field.connect()) for _ in range(40)]
    for client in clients:
        client.send(wire.pdu(wire.LOGIN | wire.IMMEDIATE, names, flags=0x87, isid=0x616263, itt=1, cid=1, cmd_sn=1))
    for client in clients:
        try:
            assert client.receive().login_status == 0
        except Gone:
            continue

    def lives(client: Client) -> bool:
        try:
            client.until_pong()
        except Gone:
            return False
        return True

    assert sum(lives(client) for client in clients) == 1


def test_reinstatement_while_the_old_session_reads_nothing(field: Field) -> None:
    initiator, target = field.herd.initiator(NODE), field.herd.iqn(NODE)
    with field.connect(receive_bytes=4096) as old, field.connect() as new:
        old.enter(initiator, target, isid=0x717273)
        for _ in range(64):
            old.send(old.command_pdu(wire.cdb_read16(0, 65536), flags=0xC1, edtl=32 << 20))
        new.enter(initiator, target, isid=0x717273)
        new.settle_attentions()
        assert not new.until_pong()
