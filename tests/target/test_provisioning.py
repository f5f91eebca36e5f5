"""A unit promises to free space (SBC-3 4.7, VPD B0 and B2) as its disk's format can, and no further."""

from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from goldherd import Capabilities, Format, Image, Opener, hookimpl
from goldherd.app import OneTarget
from goldherd.block.memory import MemoryImage
from goldherd.hooks import BUILTIN, Hooks
from goldherd.model.options import FilterSpec
from goldherd.model.targets import LunConfig, TargetConfig

from tests.target.initiator import Session, log_in
from tests.target.inprocess import INITIATOR, TARGET, serving

UNMAP = bytes.fromhex("42 00 00000000 00 0018 00")
DESCRIPTOR = bytes.fromhex("0016 0010 00000000 0000000000000000 00000008 00000000")
WRITE_SAME_UNMAP = bytes.fromhex("93 08 0000000000000000 00000008 00 00")


class Disk(Format):
    """A disk in memory that can discard, or can't."""

    def __init__(self, name: str, *, discard: bool) -> None:
        self.name = name
        self.capabilities = Capabilities(write=True, file=False, discard=discard)

    title: ClassVar[str] = "memory"

    def open(self, location: str, mode: str, opener: Opener, options: object) -> Image:
        return MemoryImage(1 << 20)


@hookimpl
def image_formats() -> list[Format]:
    return [Disk("frees", discard=True), Disk("keeps", discard=False)]


@pytest.fixture
def hooks() -> Hooks:
    hooks = Hooks(BUILTIN.items())
    assert hooks.register(SimpleNamespace(image_formats=image_formats), "memory"), hooks.declined
    return hooks


def asked(hooks: Hooks, folder: Path, lun: LunConfig) -> tuple[bool, bytes, bytes, int, int]:
    """LBPME of READ CAPACITY(16), VPD B2, UNMAP fields of B0, the statuses of UNMAP and of WRITE SAME with UNMAP."""
    with (
        serving(folder, directory=OneTarget(TargetConfig(TARGET, (lun,))), hooks=hooks) as portal,
        log_in(portal, TARGET, initiator=INITIATOR) as session,
    ):
        return answers(session.make_ready())


def answers(session: Session) -> tuple[bool, bytes, bytes, int, int]:
    capacity = session.command(bytes.fromhex("9e10 0000000000000000 00000020 0000"), read=32).data
    b0 = session.command(bytes.fromhex("1201b0004000"), read=64).data
    b2 = session.command(bytes.fromhex("1201b2000800"), read=8).data
    unmap = session.command(UNMAP, write=DESCRIPTOR).status
    same = session.command(WRITE_SAME_UNMAP, write=bytes(512)).status
    return bool(capacity[14] & 0x80), b2[4:8], b0[20:36], unmap, same


@pytest.mark.parametrize("filters", [(), (FilterSpec("delay"),)], ids=["bare", "filtered"])
def test_disk_that_frees_space_says_so(hooks: Hooks, tmp_path: Path, filters: tuple[FilterSpec, ...]) -> None:
    lbpme, b2, b0, unmap, same = asked(hooks, tmp_path, LunConfig(0, "x", "frees", filters=filters))
    assert (lbpme, b2[1] & 0xE0, b2[2] & 7, unmap, same) == (True, 0xE0, 2, 0, 0)
    assert any(b0)


@pytest.mark.parametrize("filters", [(), (FilterSpec("delay"),)], ids=["bare", "filtered"])
def test_disk_that_can_not_free_space_promises_nothing(
    hooks: Hooks, tmp_path: Path, filters: tuple[FilterSpec, ...]
) -> None:
    found = asked(hooks, tmp_path, LunConfig(0, "x", "keeps", filters=filters))
    assert found == (False, bytes(4), bytes(16), 2, 2)
