"""A daemon hands over to a new process: clients keep their sessions, and every byte is right."""

import os
import random
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from bench.pattern import words
from tests.support.odx import cdb, information, populate, receive, write_using
from tests.target.daemon import Daemon, Herd, refused
from tests.target.handing import hand_over, has_ended, refusal, serving, serving_pid, status
from tests.target.initiator import LINUX_ISID, Pdu, Session, log_in

NODE = "pc-001"
OTHER_ISID = bytes.fromhex("00023d000002")
R2T_ONLY = {"InitialR2T": "Yes", "ImmediateData": "No"}


@pytest.mark.parametrize("reactors", [0, 1, 2])
def test_idle_session_goes_on(herd: Herd, reactors: int) -> None:
    with serving(herd, "--reactors", reactors) as daemon, daemon.log_in(NODE) as session:
        assert session.write(8, b"\xa5" * 4096).status == 0
        before = status(herd)
        done = hand_over(herd)
        assert done["sessions"] == 1 and done["pid"] != before["pid"]
        assert session.read(8, 8) == b"\xa5" * 4096
        assert session.read(16, 8) == words(8192, 4096)
        assert session.write(8, b"\x5a" * 4096, fua=True).status == 0
        session.ping()
        after = status(herd)
        assert after["sessions"] == before["sessions"]
        assert after["counters"]["commands"] > before["counters"]["commands"]
        assert has_ended(daemon.process.pid)
        assert daemon.process.stop() == 0, "the process before ended in good order"
        session.log_out()
        with daemon.log_in(NODE) as again:
            assert again.read(8, 8) == b"\x5a" * 4096


def test_no_daemon_has_nothing_to_hand_over(herd: Herd) -> None:
    assert "No daemon is running" in refused(herd.run("upgrade"))


class Load(threading.Thread):
    """Writes and reads one part of a disk in a session of its own, and compares every byte."""

    def __init__(self, session: Session, seed: int) -> None:
        super().__init__(daemon=True)
        self.session, self.random = session, random.Random(seed)
        self.written: dict[int, bytes] = {}
        self.ending = threading.Event()
        self.failure: BaseException | None = None
        self.rounds = 0

    def run(self) -> None:
        try:
            while not self.ending.is_set():
                self.round()
        except BaseException as failure:
            self.failure = failure

    def round(self) -> None:
        """A write of any length, sometimes flushed, and a read of what was written before."""
        blocks = self.random.choice((1, 8, 64, 512))
        slot = self.random.randrange(16)
        data = self.random.randbytes(blocks * 512)
        assert self.session.write(slot * 512, data, fua=self.random.random() < 0.1).status == 0
        self.written[slot] = data
        if self.random.random() < 0.1:
            assert self.session.flush().status == 0
        slot, data = self.random.choice(list(self.written.items()))
        assert self.session.read(slot * 512, len(data) // 512) == data
        self.rounds += 1

    def finish(self) -> None:
        """Ends it; AssertionError with what went wrong."""
        self.ending.set()
        self.join(60)
        assert not self.is_alive()
        if self.failure is not None:
            raise self.failure
        for slot, data in self.written.items():
            assert self.session.read(slot * 512, len(data) // 512) == data


def test_verified_load_goes_on_through_ten_hand_overs(herd: Herd) -> None:
    with serving(herd, "--reactors", 2) as daemon, ExitStack() as stack:
        loads = [
            Load(stack.enter_context(daemon.log_in(f"pc-00{number}", keys=keys)), number)
            for number, keys in enumerate(({}, R2T_ONLY, {"MaxBurstLength": "8192"}, {}), 1)
        ]
        for load in loads:
            load.start()
        rounds = 0
        for _ in range(10):
            assert hand_over(herd)["sessions"] == len(loads)
            now = sum(load.rounds for load in loads)
            assert now > rounds
            rounds = now
        for load in loads:
            load.finish()


def asked_for_data(session: Session, itt: int) -> Pdu:
    """The R2T of a write."""
    pdu = session.take()
    assert (pdu.opcode, pdu.itt) == (0x31, itt)
    return pdu


def write_cdb(lba: int, blocks: int) -> bytes:
    return struct.pack(">BBIBH", 0x2A, 0, lba, 0, blocks)


def test_write_goes_on_between_request_and_data(herd: Herd) -> None:
    data = os.urandom(1 << 20)
    with serving(herd) as daemon, daemon.log_in(NODE, keys=R2T_ONLY | {"MaxBurstLength": "262144"}) as session:
        itt = session.start(write_cdb(0, 2048), write=data)
        for offset in range(0, len(data), 262144):
            r2t = asked_for_data(session, itt)
            assert int.from_bytes(r2t.header[40:44]) == offset
            hand_over(herd)
            session._data_out(r2t, data)
        assert session.finish(itt).status == 0
        assert session.read(0, 2048) == data


def test_data_out_is_cut_anywhere(herd: Herd) -> None:
    data = os.urandom(65536)
    with serving(herd) as daemon, daemon.log_in(NODE, keys=R2T_ONLY) as session:
        itt = session.start(write_cdb(0, 128), write=data)
        r2t = asked_for_data(session, itt)
        header = struct.pack(">BBxxI", 0x05, 0x80, len(data)) + r2t.header[8:16] + r2t.header[16:24]
        stream = header.ljust(28, b"\0") + struct.pack(">I4xII", session.exp_stat_sn, 0, 0) + bytes(4) + data
        for begin, following in ((0, 20), (20, 100), (100, 30_000), (30_000, len(stream))):
            session.socket.sendall(stream[begin:following])
            hand_over(herd)
        assert session.finish(itt).status == 0
        assert session.read(0, 128) == data


def collected(session: Session, tags: dict[int, int]) -> dict[int, bytearray]:
    """The data of reads that are answered side by side, by Initiator Task Tag; `tags` has the length of each."""
    found = {tag: bytearray(length) for tag, length in tags.items()}
    open_tags = set(tags)
    while open_tags:
        pdu = session.take()
        assert pdu.opcode == 0x25, f"opcode {pdu.opcode:#x}"
        offset = int.from_bytes(pdu.header[40:44])
        found[pdu.itt][offset : offset + len(pdu.data)] = pdu.data
        if pdu.header[1] & 1:
            assert pdu.header[3] == 0
            open_tags.remove(pdu.itt)
    return found


def test_slow_reader_gets_what_the_socket_did_not_take(herd: Herd) -> None:
    length = 2 << 20
    with serving(herd) as daemon, daemon.log_in(NODE) as session:
        places = {}
        for offset in (0, 4 << 20, 8 << 20, 4 << 20, 0):
            command = struct.pack(">BBIBH", 0x28, 0, offset // 512, 0, length // 512)
            places[session.start(command, read=length)] = offset
        hand_over(herd)
        hand_over(herd)
        found = collected(session, dict.fromkeys(places, length))
        for tag, offset in places.items():
            assert found[tag] == words(offset, length)


def test_connections_of_one_session_stay_together(herd: Herd) -> None:
    many = {"MaxConnections": "4"}
    with serving(herd, "--connections-max", 4) as daemon, ExitStack() as stack:
        first = stack.enter_context(daemon.log_in(NODE, keys=many))
        if second := stack.enter_context(daemon.log_in(NODE, joins=first, cid=1)):
            early = second.start(struct.pack(">BBIBH", 0x28, 0, 0, 0, 8), read=4096, cmd_sn=first.cmd_sn + 1)
            assert hand_over(herd)["sessions"] == 1
            assert first.read(8, 8) == words(4096, 4096)
            first.cmd_sn += 1
            assert second.finish(early).data == words(0, 4096)
            with daemon.log_in(NODE, joins=first, cid=2) as third:
                assert third.read(8, 8) == words(4096, 4096)
                hand_over(herd)
                assert [each["connections"] for each in status(herd)["sessions"]] == [3]
                assert third.ask_to_log_out(1, 1) == 0
                assert second.ended()
                third.inquire()


def raw_log_in(daemon: Daemon, isid: bytes) -> Session:
    """A session that has asked for nothing yet."""
    return log_in(daemon.portal, f"iqn.2026-11.io.goldherd:{NODE}", f"iqn.2026-11.io.goldherd.node:{NODE}", isid=isid)


def test_unit_attention_waits_for_its_initiator(herd: Herd) -> None:
    with serving(herd) as daemon, raw_log_in(daemon, LINUX_ISID) as session:
        hand_over(herd)
        answer = session.command(bytes(6))
        assert (answer.status, answer.key) == (2, (6, 0x29, 0))
        assert session.command(bytes(6)).status == 0
        hand_over(herd)
        assert session.command(bytes(6)).status == 0, "and no other comes"


def test_reservation_of_a_whole_unit_stays(herd: Herd) -> None:
    with serving(herd) as daemon, daemon.log_in(NODE) as session, daemon.log_in(NODE, isid=OTHER_ISID) as other:
        assert session.command(b"\x16").status == 0
        hand_over(herd)
        assert other.command(bytes(6)).status == 0x18
        assert session.command(b"\x17").status == 0
        assert other.command(bytes(6)).status == 0


def test_persistent_reservation_stays(herd: Herd) -> None:
    key = bytes(range(8))
    with serving(herd) as daemon, daemon.log_in(NODE) as session, daemon.log_in(NODE, isid=OTHER_ISID) as other:
        assert session.command(struct.pack(">BB5xH", 0x5F, 0, 24) + b"\0", write=bytes(8) + key + bytes(8)).status == 0
        assert session.command(struct.pack(">BBB4xH", 0x5F, 1, 1, 24) + b"\0", write=key + bytes(16)).status == 0
        hand_over(herd)
        assert other.write(0, bytes(512)).status == 0x18
        assert session.write(0, bytes(512)).status == 0
        keys = other.command(struct.pack(">BB5xH", 0x5E, 0, 255), read=255)
        assert keys.data[8:16] == key
        session.log_out()
        hand_over(herd)
        with daemon.log_in(NODE):
            assert other.write(0, bytes(512)).status == 0x18, "it outlives the session as before"


def test_mode_pages_stay(herd: Herd) -> None:
    sense = struct.pack(">BBBxB", 0x1A, 8, 8, 24)
    with serving(herd) as daemon, daemon.log_in(NODE) as session:
        page = session.command(sense, read=24).data[4:]
        changed = bytes([page[0] & 0x3F, page[1], page[2] ^ 0x04]) + page[3:]
        assert (
            session.command(struct.pack(">BB2xB", 0x15, 0x10, 4 + len(changed)), write=bytes(4) + changed).status == 0
        )
        hand_over(herd)
        assert session.command(sense, read=24).data[4:] == changed


def test_token_stands_for_its_data_until_that_is_written(herd: Herd) -> None:
    token_command, use_command = 0x10, 0x11
    with serving(herd) as daemon, daemon.log_in(NODE) as session:
        data = populate([(0, 64)])
        assert session.command(bytes.fromhex(cdb(token_command, 1, len(data))), write=data).status == 0
        hand_over(herd)
        told = information(session.command(bytes.fromhex(receive(0x07, 1)), read=0x1000).data)
        assert (told.action, told.progress) == (token_command, 1)
        use = write_using(told.token, [(1024, 64)])
        assert session.command(bytes.fromhex(cdb(use_command, 2, len(use))), write=use).status == 0
        assert session.read(1024, 64) == words(0, 64 * 512)
        hand_over(herd)
        assert session.write(3, bytes(512)).status == 0
        answer = session.command(bytes.fromhex(cdb(use_command, 3, len(use))), write=use)
        assert (answer.status, answer.key) == (2, (5, 0x23, 0x08))


def test_login_that_comes_meanwhile_finds_the_new_process(herd: Herd) -> None:
    with serving(herd) as daemon, ExitStack() as stack:
        ending = threading.Event()
        failures: list[BaseException] = []

        def log_in_again_and_again() -> None:
            try:
                while not ending.is_set():
                    with daemon.log_in("pc-002") as session:
                        assert session.read(8, 8) == words(4096, 4096)
                        session.log_out()
            except BaseException as failure:
                failures.append(failure)

        stack.enter_context(daemon.log_in(NODE))
        thread = threading.Thread(target=log_in_again_and_again)
        thread.start()
        for _ in range(5):
            hand_over(herd)
        ending.set()
        thread.join(60)
        assert not failures


def test_discovery_session_goes_on(herd: Herd) -> None:
    initiator = f"iqn.2026-11.io.goldherd.node:{NODE}"
    with serving(herd) as daemon, log_in(daemon.portal, None, initiator) as session:
        hand_over(herd)
        assert any(NODE in value for _, value in session.text("SendTargets=All\0"))


def test_closed_target_is_remembered(herd: Herd) -> None:
    with serving(herd) as daemon:
        with daemon.log_in(NODE) as session:
            session.log_out()
        hand_over(herd)
        with raw_log_in(daemon, LINUX_ISID) as session:
            assert session.command(bytes(6)).key == (6, 0x29, 7), "the port was met before"


# --- hand-overs that fail -----------------------------------------------------------------------------------


@pytest.fixture
def spoiled(herd: Herd, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Says what fails in the successors that follow."""
    file = herd.data.parent / "fault"
    monkeypatch.setenv("TEST_SUCCESSOR", str(file))
    monkeypatch.setattr("tests.target.daemon.GOLDHERD", (sys.executable, "-m", "tests.target.successor"))

    def say(fault: str) -> None:
        file.write_text(fault)

    say("")
    return say


DEATHS = ("exit 0", *(f"send {n}" for n in range(4)), *(f"receive {n}" for n in range(4)), "open 0", "session 0")
"""At each word of the conversation, and between."""


def test_whatever_fails_the_running_process_goes_on(herd: Herd, spoiled: Callable[[str], None]) -> None:
    """Each time in the middle of a write, which ends well; all of it is there after a restart."""
    reasons = dict.fromkeys(DEATHS, "The daemon that was running goes on.")
    reasons |= {
        "refuse 0": "The daemon refused 'upgrade': The test's disk can't be opened.",
        "format 0": "does not read the state",
        "sleep 0": "said nothing for",
    }
    data = {number: os.urandom(65536) for number in range(len(reasons))}
    with serving(herd) as daemon, daemon.log_in(NODE, keys=R2T_ONLY) as session:
        pid = serving_pid(herd)
        for number, (fault, reason) in enumerate(reasons.items()):
            itt = session.start(write_cdb(128 * number, 128), write=data[number])
            r2t = asked_for_data(session, itt)
            spoiled(fault)
            assert reason in refusal(herd), fault
            assert serving_pid(herd) == pid, "the process that ran goes on"
            session._data_out(r2t, data[number])
            assert session.finish(itt).status == 0
            assert session.read(128 * number, 128) == data[number]
        with daemon.log_in("pc-002") as other:
            assert other.read(8, 8) == words(4096, 4096)
        spoiled("")
        assert hand_over(herd)["sessions"] == 1
        assert session.flush().status == 0
        session.log_out()
    with herd.serve() as daemon, daemon.log_in(NODE) as session:
        for number, written in data.items():
            assert session.read(128 * number, 128) == written


def test_command_says_what_came_of_it(herd: Herd, spoiled: Callable[[str], None]) -> None:
    with serving(herd) as daemon, daemon.log_in(NODE):
        spoiled("open 0")
        assert "The daemon that was running goes on." in refused(herd.run("upgrade"))
        spoiled("")
        assert "has taken over with 1 session, which stood still for" in herd.do("upgrade")
        assert '"sessions": 1' in herd.do("upgrade", "--json")
