"""Backends in Python that read too little or keep what they were lent: no initiator meets memory of others."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from goldherd import Image, hookimpl
from goldherd.app import OneTarget
from goldherd.hooks import BUILTIN, Hooks
from goldherd.model.targets import LunConfig, TargetConfig

from tests.target.initiator import log_in
from tests.target.inprocess import INITIATOR, TARGET, serving

BLOCKS = 128
OLD = b"\xa5" * 512


class Careless(Image):
    """A disk that reads as a test says."""

    def __init__(self, read: Callable[[memoryview], int | None]) -> None:
        super().__init__(size_bytes=1 << 20)
        self._read = read
        self.kept: list[memoryview] = []

    def read_into(self, offset_bytes: int, target: memoryview) -> int | None:  # type: ignore[override]
        self.kept.append(target[:])
        return self._read(target)

    def write(self, offset_bytes: int, data: memoryview) -> None:
        self.kept.append(data[:])


def nothing(target: memoryview) -> None:
    """Returns early."""


def half(target: memoryview) -> None:
    """Fills the first half."""
    target[: len(target) // 2] = b"B" * (len(target) // 2)


def half_and_says_so(target: memoryview) -> int:
    """Fills the first half and returns its length, as io.RawIOBase.readinto does."""
    half(target)
    return len(target) // 2


@pytest.mark.parametrize(
    ("read", "expected"), [(nothing, bytes(BLOCKS * 512)), (half, b"B" * (BLOCKS * 256) + bytes(BLOCKS * 256))]
)
def test_what_a_backend_leaves_out_reads_as_zeros(
    tmp_path: Path, read: Callable[[memoryview], int | None], expected: bytes
) -> None:
    with serving_careless(tmp_path, Careless(read)) as portal, log_in(portal, TARGET, INITIATOR) as session:
        session.make_ready()
        for _ in range(4):
            assert session.write(0, OLD * BLOCKS).status == 0
            assert session.read(0, BLOCKS) == expected


def test_a_backend_that_says_that_it_read_less_has_failed(tmp_path: Path) -> None:
    image = Careless(half_and_says_so)
    with serving_careless(tmp_path, image) as portal, log_in(portal, TARGET, INITIATOR) as session:
        answer = session.make_ready().command(bytes([0x28]) + bytes(6) + bytes([0, 8, 0]), read=4096)
        assert (answer.status, answer.key[0]) == (2, 3), "a MEDIUM ERROR"


def test_what_a_backend_keeps_reaches_no_later_command(tmp_path: Path) -> None:
    image = Careless(half)
    with serving_careless(tmp_path, image) as portal, log_in(portal, TARGET, INITIATOR) as session:
        session.make_ready()
        assert session.write(0, OLD * BLOCKS).status == 0
        written = image.kept[-1]
        for view in image.kept:
            if not view.readonly:
                view[:] = b"X" * len(view)
        assert session.write(0, b"C" * 512 * BLOCKS).status == 0
        assert session.read(0, BLOCKS)[:4] == b"BBBB"
        assert bytes(written) == OLD * BLOCKS


class Leaving(Careless):
    """A disk whose every change ends in sys.exit."""

    def flush(self) -> None:
        sys.exit(3)

    def close(self) -> None:
        sys.exit(3)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        sys.exit(3)

    def write(self, offset_bytes: int, data: memoryview) -> None:
        sys.exit(3)


def test_a_backend_that_exits_ends_no_daemon(tmp_path: Path) -> None:
    image = Leaving(nothing)
    rest = {"linger_seconds": 0.01}
    with serving_careless(tmp_path, image, flush_seconds=0.05, rest=rest) as portal:
        for _ in range(2):  # the second opens the disk again, which did not close
            with log_in(portal, TARGET, INITIATOR) as session:
                session.make_ready()
                assert session.write(0, OLD).status == 2
                assert session.flush().status == 2
                write_same = bytes([0x93, 0x08]) + bytes(11) + bytes([8, 0, 0])
                assert session.command(write_same, write=bytes(512)).status == 2
                session.log_out()


def serving_careless(folder: Path, image: Image, **more: Any) -> AbstractContextManager[tuple[str, int]]:
    """A server of that disk."""

    class Plugin:
        @hookimpl
        def open_image(self, url: str) -> Image | None:
            return image if url.startswith("careless:") else None

    hooks = Hooks(BUILTIN.items())
    assert hooks.register(Plugin(), "careless")
    target = TargetConfig(TARGET, (LunConfig(0, str(folder / "disk"), format="careless"),))
    return serving(folder, directory=OneTarget(target), hooks=hooks, **more)
