"""Every write that the data plane stores marks the watches it touches, before it stores."""

from collections.abc import Callable

import pytest
from goldherd.block.file import FileImage
from goldherd.block.memory import MemoryImage
from goldherd.scsi.fastpath.unit import HotUnit
from goldherd.scsi.fastpath.watch import Watch
from goldherd.wire.opcodes import Opcode

from tests.session.initiator import Initiator, Pdu, has_status

Login = Callable[..., Initiator]
FIRST, COUNT = 100, 600
"""Blocks under watch: more than a reactor stores by itself."""
STEP = 65536


def watched(initiator: Initiator) -> Watch:
    watch = Watch([(FIRST * 512, COUNT * 512)])
    initiator.units[0].watch((watch,))
    return watch


def write(initiator: Initiator, lba: int, blocks: int, sent: int) -> None:
    """A write of which `sent` bytes go with the command; the rest as the R2Ts ask for it."""
    data = bytes(blocks * 512)
    pdus = initiator.send(initiator.write(lba, data, sent=sent))
    while not has_status(pdus):
        answer = b""
        for r2t in filter(is_r2t, pdus):
            itt, ttt = (int.from_bytes(r2t.header[at : at + 4]) for at in (16, 20))
            offset, length = (int.from_bytes(r2t.header[at : at + 4]) for at in (40, 44))
            for number, at in enumerate(range(offset, offset + length, STEP)):
                end = min(at + STEP, offset + length)
                last = end == offset + length
                answer += initiator.data_out(itt, at, data[at:end], ttt=ttt, data_sn=number, final=last)
        pdus = initiator.until(lambda found: has_status(found) or any(map(is_r2t, found)), answer)


def is_r2t(pdu: Pdu) -> bool:
    return pdu.header[0] & 0x3F == Opcode.READY_TO_TRANSFER


@pytest.mark.parametrize("image", ["disk", "slow_disk"])
@pytest.mark.parametrize(("blocks", "sent"), [(1, 512), (1, 0), (300, 0), (COUNT, 0)])
def test_write_marks_what_it_touches_and_nothing_else(
    request: pytest.FixtureRequest, login: Login, image: str, blocks: int, sent: int
) -> None:
    """Stored at once, asked for by R2T, stored by the pool, and stored by the pool for Python."""
    initiator = login(request.getfixturevalue(image))
    watch = watched(initiator)
    for beside in (FIRST + COUNT, FIRST - blocks if blocks <= FIRST else FIRST + COUNT + 1):
        write(initiator, beside, blocks, sent)
    assert not watch.touched
    write(initiator, FIRST + COUNT - 1, blocks, sent)
    assert watch.touched


def test_reads_and_flushes_mark_nothing(login: Login, disk: FileImage) -> None:
    initiator = login(disk)
    watch = watched(initiator)
    initiator.send(initiator.read(FIRST, 8))
    assert not watch.touched


def test_list_may_change_between_writes(login: Login, slow_disk: MemoryImage) -> None:
    """Older lists are freed when nobody sees them; what is no longer watched is not marked."""
    initiator = login(slow_disk)
    watches = [Watch([(n * 512, 512)]) for n in range(20)]
    for number in range(20):
        initiator.units[0].watch(tuple(watches[number:]))
        write(initiator, number, 1, 512)
        assert [watch.touched for watch in watches] == [n <= number for n in range(20)]
        if number:
            write(initiator, number - 1, 1, 512)
    initiator.units[0].watch(())
    write(initiator, 0, 20, 0)


def test_watch_that_was_marked_once_stays_so(login: Login, disk: FileImage) -> None:
    initiator = login(disk)
    watch = watched(initiator)
    for _ in range(2):
        write(initiator, FIRST, 1, 512)
        assert watch.touched


def test_unit_may_go_with_its_watches(disk: FileImage) -> None:
    unit = HotUnit(disk)
    unit.watch((Watch([(0, 512)]), Watch([(512, 512), (4096, 512)])))
    del unit
