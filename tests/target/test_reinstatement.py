"""Several sessions of one node: hand-over from the boot loader, reinstatement, and what becomes of the old one."""

import struct

import pytest

from tests.target.daemon import Herd
from tests.target.initiator import ConnectionEndedError, loader_isid

PATTERN = b"\xa5" * 4096


def test_loader_and_operating_system_share_the_disk(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001", isid=loader_isid(1)) as loader:
        assert loader.write(8, PATTERN).status == 0
        with daemon.log_in("pc-001") as system:
            assert system.read(8, 8) == PATTERN
            assert system.write(16, PATTERN).status == 0
            assert loader.read(16, 8) == PATTERN
            states = [session["state"] for session in herd.status()["daemon"]["sessions"]]
            assert sorted(states) == ["loader", "logged in"]


def test_same_isid_ends_the_old_session_at_once(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as old:
        assert old.write(8, PATTERN).status == 0
        with daemon.log_in("pc-001") as new:
            assert old.ended()
            assert new.tsih != old.tsih
            assert new.read(8, 8) == PATTERN
            assert len(herd.status()["daemon"]["sessions"]) == 1


def test_old_peer_that_never_reads_holds_nobody_up(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as old:
        for lba in range(0, 60 * 512, 512):  # 15 MiB of answers that nobody takes
            old.start(struct.pack(">BBIBH", 0x28, 0, lba, 0, 512), read=512 * 512)
        with daemon.log_in("pc-001") as new:
            new.inquire()
            assert len(herd.status()["daemon"]["sessions"]) == 1


def test_tasks_of_the_old_session_are_gone(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as old:
        old.start(struct.pack(">BBIBH", 0x2A, 0, 8, 0, 8), write=PATTERN)  # its data are never sent
        with daemon.log_in("pc-001") as new:
            before = new.read(8, 8)
            with pytest.raises(ConnectionEndedError):
                while True:
                    old.receive()
            assert new.read(8, 8) == before


def test_reinstatement_of_a_connection_goes_on_under_the_same_tsih(herd: Herd) -> None:
    with herd.serve() as daemon, daemon.log_in("pc-001") as old:
        assert old.write(8, PATTERN).status == 0
        with daemon.log_in("pc-001", joins=old) as new:
            assert old.ended()
            assert new.tsih == old.tsih
            assert new.read(8, 8) == PATTERN  # at once: the session goes on, there is no unit attention


def test_long_command_of_the_old_session_writes_nothing_after_the_new_one_began(herd: Herd) -> None:
    last = (16 << 20) // 512 - 1
    with herd.serve() as daemon, daemon.log_in("pc-001") as old:
        write_same = struct.pack(">BBQIxx", 0x93, 0, 0, last + 1)  # one sector of 0x77 to the whole disk
        old.start(write_same, write=b"\x77" * 512, immediate=512)
        with daemon.log_in("pc-001") as new:
            assert new.write(last, b"\xa5" * 512).status == 0
            for lba in (0, last // 2, last):
                before = new.read(lba, 1)
                assert new.flush().status == 0
                assert new.read(lba, 1) == before
            assert new.read(last, 1) == b"\xa5" * 512
            with pytest.raises(ConnectionEndedError):
                while True:
                    old.receive()
