"""Everything that two threads touch, touched by all of them at once: message queues, units, caches, sessions."""

import struct
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.target.initiator import ConnectionEndedError, LoginRefusedError, Session
from tests.threads.conftest import DISK_BYTES, Running, together

BLOCKS = DISK_BYTES // 512
ROUNDS = 40
ENDED = (ConnectionEndedError, LoginRefusedError, OSError)


def region(number: int) -> int:
    """The first block that client `number` has for itself."""
    return number * 1024


def write_and_read(session: Session, number: int, rounds: int = ROUNDS) -> None:
    """Small and large writes with and without FUA, read back."""
    for round_ in range(rounds):
        blocks = (1, 8, 300, 600)[round_ % 4]
        data = bytes([round_ + number & 0xFF]) * (blocks * 512)
        assert session.write(region(number), data, fua=round_ % 3 == 0).status == 0
        assert session.read(region(number), blocks) == data


def test_sessions_on_both_reactors_write_and_read(running: Running) -> None:
    def client(number: int) -> None:
        with running.log_in(number) as session:
            write_and_read(session, number)

    together(*(lambda number=number: client(number) for number in range(6)))  # type: ignore[misc]


def test_a_golden_disk_that_does_not_fit_the_cache(running: Running) -> None:
    """Fetches, evictions and grace periods while both reactors read."""

    def client(number: int) -> None:
        with running.log_in(number) as session:
            for round_ in range(ROUNDS):
                lba = (round_ * 7919 + number * 4001) % (BLOCKS - 512)
                assert session.read(lba, 512, lun=1) == bytes(512 * 512)

    together(*(lambda number=number: client(number) for number in range(6)))  # type: ignore[misc]


def test_exclusive_commands_among_writes(running: Running) -> None:
    """COMPARE AND WRITE quiesces a unit, drains every reactor, and resumes."""

    def exclusive(number: int) -> None:
        with running.log_in(number) as session:
            value = bytes(512)
            for round_ in range(ROUNDS):
                fresh = bytes([round_ + 1]) * 512
                cdb = struct.pack(">BBQ3xBxx", 0x89, 0, region(number), 1)
                assert session.command(cdb, write=value + fresh).status == 0
                value = fresh

    def writer(number: int) -> None:
        with running.log_in(number) as session:
            write_and_read(session, number, ROUNDS // 2)

    together(lambda: exclusive(1), lambda: exclusive(2), lambda: writer(3), lambda: writer(4))


def test_modes_and_reservations_change_what_reactors_may_do(running: Running) -> None:
    """Flags and prebuilt answers are published while they are read."""

    def changes() -> None:
        with running.log_in(1) as session:
            for round_ in range(ROUNDS):
                page = bytes([0x08, 0x12, 0x04 if round_ & 1 else 0x00]) + bytes(17)
                assert session.command(b"\x15\x10\0\0\x18\0", write=bytes(4) + page).status == 0
                assert session.command(b"\x16").status == 0
                assert session.command(b"\x17").status == 0

    def asks(number: int) -> None:
        with running.log_in(number) as session:
            for _ in range(ROUNDS * 4):
                session.command(b"\x12\0\0\0\x60", read=0x60)
                session.command(struct.pack(">BBIBH", 0x28, 0, 0, 0, 8), read=4096)
                session.command(b"\x1a\0\x3f\0\xff", read=255)

    together(changes, lambda: asks(2), lambda: asks(3))


def test_aborts_and_resets_among_commands(running: Running) -> None:
    """Nobody waits for a status: a reset of another session ends commands without one (TAS=0)."""

    def works(session: Session, number: int) -> None:
        for _ in range(ROUNDS):
            session.start(struct.pack(">BBIBH", 0x2A, 0, region(number), 0, 600), write=bytes(600 * 512))
            assert session.manage(2) == 0

    def resets(session: Session) -> None:
        for round_ in range(ROUNDS):
            assert session.manage((5, 4, 6)[round_ % 3]) == 0

    with running.log_in(1) as one, running.log_in(2) as two, running.log_in(3) as three:
        together(lambda: works(one, 1), lambda: works(two, 2), lambda: resets(three))


def test_sessions_that_replace_each_other(running: Running) -> None:
    """Reinstatement storms: hand-over, the end of sessions, and targets that close and open."""

    def storms(number: int) -> None:
        for _ in range(ROUNDS // 2):
            with suppress(*ENDED, AssertionError), running.log_in(7) as session:  # the same ISID as the others
                session.start(struct.pack(">BBIBH", 0x28, 0, 0, 0, 512), read=512 * 512)
                session.write(region(number), bytes(4096))

    together(*(lambda number=number: storms(number) for number in range(4)))  # type: ignore[misc]
    with running.log_in(7) as session:
        write_and_read(session, 1, 4)


def test_several_connections_of_one_session(running: Running) -> None:
    """Joined, used out of order, replaced and logged out by different threads."""
    with running.log_in(1, keys={"MaxConnections": "4"}) as first:
        for round_ in range(ROUNDS // 4):
            with running.join(first, 1) as second, running.join(first, 2) as third:
                number = first.cmd_sn
                for end, ahead in ((third, 2), (second, 1), (first, 0)):
                    end.start(struct.pack(">BBIBH", 0x28, 0, round_, 0, 1), read=512, cmd_sn=number + ahead)
                first.cmd_sn = number + 3
                for end in (first, second, third):
                    assert end.take().opcode == 0x25
                assert first.ask_to_log_out(1, 2) == 0
                assert first.ask_to_log_out(1, 1) == 0


def test_meters_are_read_while_everybody_works(running: Running) -> None:
    over = threading.Event()

    def meters() -> None:
        while not over.is_set():
            for reactor in running.server._reactors:
                assert reactor.counters()["commands"] >= 0

    def client(number: int) -> None:
        with running.log_in(number) as session:
            write_and_read(session, number, ROUNDS // 2)

    meter = threading.Thread(target=meters)
    meter.start()
    try:
        together(lambda: client(1), lambda: client(2))
    finally:
        over.set()
        meter.join()


@pytest.mark.parametrize("round_", range(3))
def test_server_that_stops_in_the_middle(tmp_path: Path, round_: int, running: Running) -> None:
    """Its fixture stops it while these clients are at work."""

    def client(number: int) -> None:
        with suppress(*ENDED), running.log_in(number) as session:
            for lba in range(0, 4096, 64):
                session.write(lba, bytes(64 * 512))

    for number in range(4):
        threading.Thread(target=client, args=(number,), daemon=True).start()
