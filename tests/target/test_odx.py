"""Offloaded copies over a real socket: every way of the data plane to write ends a token, and nothing else does."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.pattern import words
from tests.support.odx import ZERO_TOKEN, Information, cdb, information, populate, receive, write_using
from tests.target.conftest import install
from tests.target.daemon import Daemon, Herd, running
from tests.target.initiator import Answer, Session

PT, WUT, RRTI, ABORT = 0x10, 0x11, 0x07, 0x1C
CANCELLED = (5, 0x23, 0x08)
SOURCE, SOURCE_BLOCKS = 4096, 512
"""Where the data of the tokens lies: longer than what a reactor stores by itself."""
TARGET = 16384
DISK_BYTES = 64 << 20
KEYS = {"InitialR2T": "No", "ImmediateData": "Yes", "MaxRecvDataSegmentLength": "262144"}
ISIDS = [bytes.fromhex(f"00023d0000{number:02x}") for number in range(1, 9)]


def token_of(session: Session, ranges: list[tuple[int, int]], list_id: int = 1) -> bytes:
    data = populate(ranges)
    answer = session.command(bytes.fromhex(cdb(PT, list_id, len(data))), write=data)
    assert (answer.status, answer.key) == (0, (0, 0, 0))
    told = ask(session, list_id)
    assert (told.action, told.progress) == (PT, 1)
    return told.token


def use(
    session: Session, token: bytes, ranges: list[tuple[int, int]], *, list_id: int = 2, lun: int = 0, flags: int = 0
) -> Answer:
    data = write_using(token, ranges, flags=flags)
    return session.command(bytes.fromhex(cdb(WUT, list_id, len(data))), write=data, lun=lun)


def ask(session: Session, list_id: int, *, lun: int = 0) -> Information:
    answer = session.command(bytes.fromhex(receive(RRTI, list_id)), read=0x1000, lun=lun)
    assert answer.status == 0, answer
    return information(answer.data)


@pytest.fixture(scope="module", params=[2, 0], ids=["reactors", "event loop"])
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Two raw disks."""
    folder = tmp_path_factory.mktemp("odx")
    disks = [folder / "one.raw", folder / "two.raw"]
    for disk in disks:
        with disk.open("wb") as file:
            file.truncate(DISK_BYTES)
    command = ("--data", folder / "data", "export", *disks, "--reactors", request.param)
    with running(folder / "log", *command) as served:
        yield served


@pytest.fixture
def session(daemon: Daemon) -> Iterator[Session]:
    with daemon.log_in("export", isid=ISIDS[0], keys=KEYS) as made:
        yield made


@pytest.fixture
def writer(daemon: Daemon) -> Iterator[Session]:
    """Another session, on another reactor."""
    with daemon.log_in("export", isid=ISIDS[1], keys=KEYS) as made:
        yield made


def test_copy_within_a_unit_and_to_another(session: Session) -> None:
    while session.command(bytes(6), lun=1).key[0] == 6:
        pass
    content = words(7, SOURCE_BLOCKS * 512)
    for at in range(0, SOURCE_BLOCKS, 128):
        assert session.write(SOURCE + at, content[at * 512 : (at + 128) * 512]).status == 0
    token = token_of(session, [(SOURCE, SOURCE_BLOCKS)])
    for lun in (0, 1):
        assert use(session, token, [(TARGET, SOURCE_BLOCKS)], lun=lun).status == 0
        told = ask(session, 2, lun=lun)
        assert (told.progress, told.blocks) == (1, SOURCE_BLOCKS)
    assert session.read(TARGET, SOURCE_BLOCKS) == content
    on_the_other = bytes.fromhex(f"28 00 {TARGET:08x} 00 {SOURCE_BLOCKS:04x} 00")
    assert session.command(on_the_other, read=SOURCE_BLOCKS * 512, lun=1).data == content


WRITES = {
    "small, all immediate": ("2a", 1, 512),
    "WRITE(6)": ("0a", 1, 512),
    "WRITE(12)": ("aa", 1, 512),
    "WRITE(16)": ("8a", 1, 512),
    "small, asked for by R2T": ("2a", 1, 0),
    "larger than a reactor stores itself": ("2a", 300, 0),
    "of several bursts": ("8a", 2100, 0),
    "FUA": ("2a 08", 1, 512),
}
"""Ways of the data plane: operation code (and flags), blocks, how much of the data goes with the command."""


def write_cdb(code: str, lba: int, blocks: int) -> bytes:
    shapes = {
        "0a": f"0a {lba:06x} {blocks:02x} 00",
        "2a": f"2a 00 {lba:08x} 00 {blocks:04x} 00",
        "2a 08": f"2a 08 {lba:08x} 00 {blocks:04x} 00",
        "aa": f"aa 00 {lba:08x} {blocks:08x} 00 00",
        "8a": f"8a 00 {lba:016x} {blocks:08x} 00 00",
    }
    return bytes.fromhex(shapes[code])


@pytest.mark.parametrize("way", WRITES)
def test_write_of_the_data_plane_ends_the_token(session: Session, writer: Session, way: str) -> None:
    """One block behind and before the data it does not; in the data it does, also with its last block only."""
    code, blocks, immediate = WRITES[way]
    data = b"\x5a" * (blocks * 512)

    def write(lba: int) -> None:
        itt = writer.start(write_cdb(code, lba, blocks), write=data, immediate=immediate)
        assert writer.finish(itt, data).status == 0

    token = token_of(session, [(SOURCE, SOURCE_BLOCKS)])
    write(SOURCE - blocks)
    write(SOURCE + SOURCE_BLOCKS)
    assert use(session, token, [(TARGET, SOURCE_BLOCKS)]).status == 0
    before = session.read(TARGET, SOURCE_BLOCKS)
    write(SOURCE - blocks + 1)
    assert use(session, token, [(TARGET, SOURCE_BLOCKS)]).key == CANCELLED
    assert session.read(TARGET, SOURCE_BLOCKS) == before
    token = token_of(session, [(SOURCE, SOURCE_BLOCKS)])
    write(SOURCE + SOURCE_BLOCKS - 1)
    assert use(session, token, [(TARGET, SOURCE_BLOCKS)]).key == CANCELLED


def test_token_is_one_moment_of_a_disk_that_is_written_all_the_time(session: Session, writer: Session) -> None:
    """Each write stamps the whole source with the next number: what a token yields has one stamp, never two, and
    none from before a write that had ended when the token was asked for."""
    blocks = 128
    stop = threading.Event()
    done = [0]

    def stamp(number: int) -> None:
        data = number.to_bytes(8) * (64 * blocks)
        itt = writer.start(write_cdb("2a", SOURCE, blocks), write=data, immediate=65536)
        assert writer.finish(itt, data).status == 0
        done[0] = number

    def work() -> None:
        number = 1
        while not stop.is_set():
            stamp(number)
            number += 1
            stop.wait(0.0005 * (number % 7))

    stamp(0)
    thread = threading.Thread(target=work)
    thread.start()
    outcomes = {"copied": 0, "ended": 0}
    try:
        for turn in range(400):
            least = done[0]
            token = token_of(session, [(SOURCE, blocks)], list_id=turn)
            most = done[0] + 1
            answer = use(session, token, [(TARGET, blocks)], list_id=turn)
            if answer.status:
                assert answer.key == CANCELLED
                outcomes["ended"] += 1
                continue
            found = session.read(TARGET, blocks)
            assert found == found[:8] * (64 * blocks)
            assert least <= int.from_bytes(found[:8]) <= most
            outcomes["copied"] += 1
    finally:
        stop.set()
        thread.join(30)
    assert outcomes["copied"] and outcomes["ended"], outcomes


GATED = '''
"""A disk of 1 MiB whose block 8 is written only when the file `go` is there."""

import time
from pathlib import Path

from goldherd import Image, hookimpl


class GatedImage(Image):
    def __init__(self, go: Path) -> None:
        super().__init__(size_bytes=1 << 20)
        self.go, self.data = go, bytearray(1 << 20)

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        target[:] = self.data[offset_bytes : offset_bytes + len(target)]

    def write(self, offset_bytes: int, data: memoryview) -> None:
        while offset_bytes == 8 * 512 and not self.go.exists():
            time.sleep(0.01)
        self.data[offset_bytes : offset_bytes + len(data)] = data


@hookimpl
def open_image(url):
    return GatedImage(Path(url.removeprefix("gated:"))) if url.startswith("gated:") else None
'''


def test_token_waits_for_the_write_that_is_under_way(site: Path, tmp_path: Path) -> None:
    """A write that was begun before is part of the data when it is answered, never later."""
    install("goldherd_gated", GATED, site)
    go = tmp_path / "go"
    new = b"\x11" * 512
    with running(tmp_path / "log", "--data", tmp_path / "data", "export", f"gated:{go}") as served:
        writer = served.log_in("export", isid=ISIDS[0], keys=KEYS)
        session = served.log_in("export", isid=ISIDS[1], keys=KEYS)
        with writer, session:
            writing = writer.start(write_cdb("2a", 8, 1), write=new, immediate=512)
            writer.inquire()  # answered in order: the write before it has been begun
            data = populate([(8, 1)])
            asking = session.start(bytes.fromhex(cdb(PT, 1, len(data))), write=data, immediate=len(data))
            for _ in range(20):  # VERIFY takes the same way through threads, and waits for nobody
                looking = session.start(bytes.fromhex("2f 00 00000064 00 0001 00"))
                pdu = session.take()
                assert pdu.itt == looking, "the token was made while a write was half done"
            go.touch()
            assert session.finish(asking, data).status == 0
            assert writer.finish(writing, new).status == 0
            assert use(session, ask(session, 1).token, [(16, 1)]).status == 0
            assert session.read(16, 1) == new


def test_copy_in_the_background_is_followed_by_its_list_identifier(session: Session) -> None:
    """IMMED: GOOD at once; its tag is free for other commands while the copy goes on."""
    ranges = [(65536 + 1024 * n, 1024) for n in range(32)]
    token = token_of(session, [(0, 32768)])
    assert use(session, token, ranges, list_id=0xABCD0001, flags=1).status == 0
    while (told := ask(session, 0xABCD0001)).progress == 0x12:
        assert session.inquire()
    assert (told.progress, told.status, told.blocks) == (1, 0, 32768)
    assert session.read(65536 + SOURCE, 256) == session.read(SOURCE, 256)


def test_reset_ends_copies_in_the_background_before_it_answers(session: Session, writer: Session) -> None:
    """After LOGICAL UNIT RESET nothing of a copy reaches the disk any more (SPC-4 5.17.5)."""
    token = token_of(session, [(0, 32768)])
    for number in range(8):
        assert use(session, token, [(65536, 32768)], list_id=100 + number, flags=1).status == 0
    assert session.manage(5) == 0
    writer.make_ready()
    marks = [(65536 + at, at.to_bytes(4) * 128) for at in range(0, 32768, 512)]
    for lba, mark in marks:
        assert writer.write(lba, mark).status == 0
    for lba, mark in marks:
        assert writer.read(lba, 1) == mark
    session.make_ready()
    answer = session.command(bytes.fromhex(receive(RRTI, 100)), read=0x1000)
    assert answer.key == (5, 0x24, 0)


def test_copy_operation_abort(session: Session) -> None:
    token = token_of(session, [(0, 32768)])
    for list_id in range(10, 16):
        assert use(session, token, [(65536, 32768)], list_id=list_id, flags=1).status == 0
    for list_id in range(15, 9, -1):
        answer = session.command(bytes.fromhex(f"83 1c {list_id:08x} 000000000000000000 00"))
        told = ask(session, list_id)
        if answer.status == 0:
            assert told.progress in (0x60, 1)
        else:
            assert (answer.key, told.progress) == ((5, 0x24, 0), 1)


def test_session_that_ends_leaves_nothing_behind(daemon: Daemon, session: Session) -> None:
    """Copies of a session that is gone end, and the threads are free for others."""
    with daemon.log_in("export", isid=ISIDS[2], keys=KEYS) as leaving:
        token = token_of(leaving, [(0, 32768)])
        for number in range(32):
            assert use(leaving, token, [(65536, 32768)], list_id=number, flags=1).status == 0
    assert use(session, ZERO_TOKEN, [(TARGET, 1)]).status == 0
    assert session.read(TARGET, 1) == bytes(512)


def test_preempt_and_abort_ends_copies(daemon: Daemon, session: Session, writer: Session) -> None:
    """PREEMPT AND ABORT is answered when the preempted initiator's copies can write no more (SPC-4 5.13.11.2.6)."""

    def reserve(by: Session, action: int, key: int, other: int = 0, kind: int = 0) -> Answer:
        data = key.to_bytes(8) + other.to_bytes(8) + bytes(8)
        return by.command(bytes.fromhex(f"5f {action:02x} {kind:02x} 0000 00000018 00"), write=data)

    assert reserve(session, 0, 0, 1).status == 0
    assert reserve(writer, 0, 0, 2).status == 0
    assert reserve(session, 1, 1, kind=1).status == 0
    token = token_of(session, [(0, 32768)])
    for number in range(8):
        assert use(session, token, [(65536, 32768)], list_id=200 + number, flags=1).status == 0
    assert reserve(writer, 5, 2, 1, kind=1).status == 0
    for at in range(0, 32768, 512):
        assert writer.write(65536 + at, b"\x77" * 512).status == 0
    for at in range(0, 32768, 512):
        assert writer.read(65536 + at, 1) == b"\x77" * 512
    assert session.command(bytes(6)).key[0] == 6
    assert reserve(writer, 3, 2).status == 0
    for each in (session, writer):
        each.make_ready()


def test_node_copies_from_its_golden_image_to_its_overlay(herd: Herd) -> None:
    """The everyday case: a file of a read-only parent is copied within a node's disk, which is a VHD overlay."""
    with herd.serve() as served, served.log_in("pc-001") as node:
        token = token_of(node, [(2048, 1024), (64, 64)])
        assert use(node, token, [(8192, 1088)]).status == 0
        assert node.read(8192, 128) == words(2048 * 512, 128 * 512)
        assert node.read(8192 + 1024, 64) == words(64 * 512, 64 * 512)
        assert use(node, ZERO_TOKEN, [(8192, 1024)]).status == 0
        assert node.read(8192, 128) == bytes(128 * 512)
        assert node.read(2048, 128) == words(2048 * 512, 128 * 512)
        assert node.write(2048 + 1023, bytes(512)).status == 0
        assert use(node, token, [(8192, 1088)]).key == CANCELLED


def test_token_is_unknown_after_a_restart(herd: Herd) -> None:
    with herd.serve() as served, served.log_in("pc-001") as node:
        token = token_of(node, [(0, 8)])
    with herd.serve() as served, served.log_in("pc-001") as node:
        assert use(node, token, [(64, 8)]).key == (5, 0x23, 0x04)


def test_token_of_another_target(herd: Herd) -> None:
    with herd.serve() as served, served.log_in("pc-001") as one, served.log_in("pc-002") as other:
        assert use(other, token_of(one, [(0, 8)]), [(64, 8)]).key == (5, 0x23, 0x02)


def test_hostile_lists_over_the_socket(session: Session) -> None:
    """Lists that are shorter or longer than announced, and than an initiator may send: an answer, and the session
    lives."""
    data = write_using(ZERO_TOKEN, [(TARGET, 8)])
    for announced in (1, 15, 16, 535, 536, 551, 552, 553, 65535, 65536, 65537, 0xFFFFFFFF):
        for length in (1, 16, 535, 552, 4096):
            answer = session.command(bytes.fromhex(cdb(WUT, 3, announced)), write=data[:length].ljust(length, b"\xff"))
            assert answer.status == 0 or answer.key[0:2] in ((5, 0x1A), (5, 0x26)), (announced, length, answer)
    assert session.inquire()


def test_copy_is_in_the_exported_file(tmp_path: Path) -> None:
    """What a copy wrote is there when the server has stopped."""
    disk = tmp_path / "disk.raw"
    disk.write_bytes(words(0, 1 << 20))
    with running(tmp_path / "log", "--data", tmp_path / "data", "export", disk) as served:
        with served.log_in("export") as session:
            assert use(session, token_of(session, [(8, 8)]), [(1024, 8)]).status == 0
            session.log_out()
        assert served.stop() == 0
    assert disk.read_bytes()[1024 * 512 : 1032 * 512] == words(8 * 512, 8 * 512)
