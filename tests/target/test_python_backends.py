"""Backends written in Python, installed as strangers install them, behind the real server.

One that fails or sleeps harms nobody else.
"""

import shutil
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.pattern import words
from tests.interop.conftest import run_tool
from tests.target.conftest import install
from tests.target.daemon import Daemon, running
from tests.target.initiator import LoginRefusedError

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "plugin_zip" / "goldherd_zip.py"
MOODY = '''
"""A disk of 1 MiB of zeros: sector 8 can't be read; sector 16 only when the file `go` is there, as 24 is written."""

import time
from pathlib import Path

from goldherd import Image, hookimpl


class MoodyImage(Image):
    def __init__(self, go: Path) -> None:
        super().__init__(size_bytes=1 << 20)
        self.go = go

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        if offset_bytes == 8 * 512:
            raise RuntimeError("no")
        while offset_bytes == 16 * 512 and not self.go.exists():
            time.sleep(0.01)
        target[:] = bytes(len(target))

    def write(self, offset_bytes: int, data: memoryview) -> None:
        while offset_bytes == 24 * 512:
            if self.go.exists():
                return
            time.sleep(0.01)
        raise OSError(28, "No space left on device")


@hookimpl
def open_image(url):
    return MoodyImage(Path(url.removeprefix("moody:"))) if url.startswith("moody:") else None
'''


def test_disk_in_a_zip_file_is_served(site: Path, raw: Path, tmp_path: Path) -> None:
    install("goldherd_zip", EXAMPLE.read_text(), site)
    with zipfile.ZipFile(tmp_path / "disk.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(raw, "disk.img")
    with running(tmp_path / "log", "--data", tmp_path / "data", "export", f"zip:{tmp_path / 'disk.zip'}") as daemon:
        copy = tmp_path / "copy.raw"
        run_tool("qemu-img", "convert", "-f", "raw", "-O", "raw", daemon.url("export"), copy)
        assert copy.read_bytes() == raw.read_bytes()
        with daemon.log_in("export") as session:
            assert session.write(0, bytes(512)).key == (7, 0x27, 0), "DATA PROTECT, WRITE PROTECTED"


@pytest.fixture(params=[0, 1])
def moody(request: pytest.FixtureRequest, site: Path, raw: Path, tmp_path: Path) -> Iterator[Daemon]:
    """A moody disk as LUN 0 and a good one as LUN 1."""
    install("moody", MOODY, site)
    disk = Path(shutil.copy(raw, tmp_path / "disk.raw"))
    disk.chmod(0o644)
    go = tmp_path / "go"
    words = (
        "--data",
        tmp_path / "data",
        "export",
        f"moody:{go}",
        disk,
        "--reactors",
        request.param,
        "--full-disk-hold",
        0,
    )
    with running(tmp_path / "log", *words) as daemon:
        yield daemon
        go.touch()


def test_backend_that_raises_fails_its_own_command_only(moody: Daemon) -> None:
    with moody.log_in("export") as session:
        answer = session.command(struct.pack(">BBIBH", 0x28, 0, 8, 0, 1), read=512)
        assert answer.key == (3, 0x11, 0), "MEDIUM ERROR, UNRECOVERED READ ERROR"
        assert answer.sense[0] == 0xF0 and answer.sense[3:7] == (8).to_bytes(4), "VALID, INFORMATION: the block"
        answer = session.command(struct.pack(">BBIBH", 0x28, 0, 8, 0, 2), read=1024)
        assert answer.sense[0] == 0x70, "which of two blocks it was, nobody knows"
        assert session.write(0, bytes(512)).key == (7, 0x27, 7), "what an OSError means is told"
        assert session.read(0, 8) == bytes(4096)
        session.command(bytes(6), lun=1)
        assert session.read(0, 8, lun=1) == words(0, 4096)
    assert "Traceback" not in moody.log


def test_backend_that_sleeps_delays_nobody_else(moody: Daemon, tmp_path: Path) -> None:
    with moody.log_in("export") as sleeper, moody.log_in("export", isid=b"\0\x02\x3d\0\0\x09") as other:
        for _ in range(16):
            last = sleeper.start(struct.pack(">BBIBH", 0x28, 0, 16, 0, 1), read=512)
        other.command(bytes(6), lun=1)
        for lba in range(0, 2048, 64):
            assert other.read(lba, 64, lun=1) == words(lba * 512, 64 * 512)
            assert other.write(lba, bytes(512), lun=1).status == 0
        moody.log_in("export", isid=b"\0\x02\x3d\0\0\x0a").socket.close()
        (tmp_path / "go").touch()
        assert sleeper.finish(last).status == 0


@pytest.mark.parametrize("moody", [1], indirect=True)
def test_sleeping_backend_does_not_keep_a_new_session_out(moody: Daemon, tmp_path: Path) -> None:
    with moody.log_in("export") as old:
        old.start(struct.pack(">BBIBH", 0x28, 0, 16, 0, 1), read=512)
        with moody.log_in("export") as new:
            assert old.ended()
            assert new.read(0, 1) == bytes(512)


@pytest.mark.parametrize("moody", [1], indirect=True)
def test_write_that_hangs_keeps_the_next_session_of_its_port_out(moody: Daemon, tmp_path: Path) -> None:
    """Or it could land behind what the next session writes (RFC 7143 6.3.5)."""
    with moody.log_in("export") as old:
        old.start(struct.pack(">BBIBH", 0x2A, 0, 24, 0, 1), write=bytes(512), immediate=512)
        with pytest.raises(LoginRefusedError) as refusal:
            moody.log_in("export")
        assert refusal.value.status == 0x0301
        assert old.ended()
        with moody.log_in("export", isid=b"\0\x02\x3d\0\0\x09") as other:
            assert other.read(0, 1) == bytes(512)
        (tmp_path / "go").touch()
        with moody.log_in("export") as new:
            assert new.read(0, 1) == bytes(512)


def test_task_management_on_a_disk_that_hangs_is_answered(moody: Daemon, tmp_path: Path) -> None:
    rejected = 255
    with moody.log_in("export") as session:
        hanging = session.start(struct.pack(">BBIBH", 0x28, 0, 16, 0, 1), read=512)
        assert session.manage(2) == rejected
        assert session.read(0, 1) == bytes(512)
        (tmp_path / "go").touch()
        assert session.read(16, 1) == bytes(512)
        assert session.inquire(), f"the aborted task {hanging} is not answered any more"


def test_task_attribute_that_means_nothing(moody: Daemon) -> None:
    with moody.log_in("export") as session:
        session.command(bytes(6), lun=1)
        for attribute, key in ((0, 0), (4, 0), (5, 5), (6, 5), (7, 5)):
            for cdb, more in (
                (struct.pack(">BBIBH", 0x28, 0, 0, 0, 1), {"read": 512}),
                (bytes(6), {}),
                (struct.pack(">BBIBH", 0x2A, 0, 0, 0, 1), {"write": bytes(512), "lun": 1}),
            ):
                answer = session.finish(session.start(cdb, attribute=attribute, **more), bytes(512))
                assert answer.key == ((0, 0, 0) if key == 0 else (5, 0x49, 0))
