"""The filters delay and error, over a disk in memory and in front of a real initiator."""

import errno
import struct
import threading
from pathlib import Path

import pytest
from goldherd.block.memory import MemoryImage
from goldherd.errors import ImageError, SettingsError
from goldherd.formats import Formats
from goldherd.hooks import BUILTIN, Hooks
from goldherd.limits import FILTERS_MAX
from goldherd.model.options import FilterSpec, parse_filter

from tests.target.daemon import running

SIZE = 1 << 20


@pytest.fixture
def formats() -> Formats:
    return Hooks((name, BUILTIN[name]) for name in ("filter_delay", "filter_error")).formats


def test_filter_is_written_with_its_options() -> None:
    assert parse_filter("delay") == FilterSpec("delay")
    assert parse_filter("error:on=read,times=1") == FilterSpec("error", (("on", "read"), ("times", "1")))
    for text in ("", ":ms=1", "../x"):
        with pytest.raises(SettingsError, match="A filter is written"):
            parse_filter(text)


def test_delayed_disk_is_the_same_disk_later(formats: Formats) -> None:
    below = MemoryImage(SIZE)
    image = formats.wrap(below, [parse_filter("delay:read-ms=1000,write-ms=0")])
    image.write(512, memoryview(b"x" * 512))
    answers: list[tuple[str, bytes]] = []
    reader = threading.Thread(target=lambda: answers.append(("delayed", image.read(0, 1536))))
    reader.start()
    answers.append(("direct", below.read(0, 1536)))
    reader.join()
    content = bytes(512) + b"x" * 512 + bytes(512)
    assert answers == [("direct", content), ("delayed", content)]
    image.discard(0, SIZE)
    image.flush()
    assert below.read(0, SIZE) == bytes(SIZE)
    image.close()


def test_sick_sectors_fail_and_the_others_do_not(formats: Formats) -> None:
    image = formats.wrap(MemoryImage(SIZE), [parse_filter("error:on=read,first=8,last=15")])
    image.read(0, 8 * 512)
    image.read(16 * 512, 512)
    image.write(8 * 512, memoryview(bytes(512)))
    for first, count in ((8, 1), (15, 1), (0, 9), (15, 4), (0, 2048)):
        with pytest.raises(OSError, match="Input/output error") as refusal:
            image.read(first * 512, count * 512)
        assert refusal.value.errno == errno.EIO


def test_disk_is_sick_for_a_while(formats: Formats) -> None:
    image = formats.wrap(MemoryImage(SIZE), [parse_filter("error:on=flush,errno=ENOSPC,after=1,times=2")])
    image.flush()
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            image.flush()
    image.flush()


def test_same_seed_draws_the_same_failures(formats: Formats) -> None:
    def failures() -> list[bool]:
        image = formats.wrap(MemoryImage(SIZE), [parse_filter("error:percent=30,seed=7")])
        found = []
        for _ in range(100):
            try:
                image.flush()
                found.append(False)
            except OSError:
                found.append(True)
        return found

    assert failures() == failures()
    assert 10 < sum(failures()) < 50


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("delay:ms=-1", "waits from 0 to 60000 ms"),
        ("delay:seconds=1", "has the options ms, read-ms, write-ms, flush-ms"),
        ("delay:ms=fast", "can't take ms=fast"),
        ("error:errno=EVERY", "no system error 'EVERY'"),
        ("error:on=seek", "can't take on=seek"),
        ("error:percent=101", "percent=0 to percent=100"),
    ],
)
def test_option_that_does_not_fit_is_refused(formats: Formats, text: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        formats.wrap(MemoryImage(SIZE), [parse_filter(text)])


def test_stack_of_filters_has_a_limit(formats: Formats) -> None:
    with pytest.raises(ImageError, match=f"{FILTERS_MAX} are the limit"):
        formats.wrap(MemoryImage(SIZE), [FilterSpec("delay")] * (FILTERS_MAX + 1))


def test_filters_are_stacked_on_the_command_line(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(b"a" * SIZE)
    words = ("--data", tmp_path / "data", "export", disk, "--filter", "delay:ms=1")
    with (
        running(tmp_path / "log", *words, "--filter", "error:on=read,first=8,last=8") as daemon,
        daemon.log_in("export") as session,
    ):
        assert session.read(0, 8) == b"a" * 4096
        answer = session.command(struct.pack(">BBIBH", 0x28, 0, 8, 0, 1), read=512)
        assert answer.key == (3, 0x11, 0), "MEDIUM ERROR, UNRECOVERED READ ERROR"
        assert session.write(8, b"b" * 512).status == 0
    assert disk.read_bytes()[8 * 512 : 9 * 512] == b"b" * 512
