"""Commands that move or compare blocks: READ, WRITE, VERIFY, WRITE AND VERIFY, ORWRITE, COMPARE AND WRITE,
WRITE ATOMIC (SBC-3 section 5).

The data plane answers plain reads and writes itself; here are the same commands for a nexus whose flags forbid that,
and all the others. Long ones work in steps, so that memory stays bounded and an abort ends them soon.
"""

from typing import Final

from goldherd import limits
from goldherd.errors import CommandError
from goldherd.scsi import sense as codes
from goldherd.scsi.call import Call, Reply
from goldherd.scsi.disk.extent import check_span, checked_span, span_of, steps, written
from goldherd.scsi.sense import invalid_field

_FUA: Final = 0x08

# --- how much data-out a CDB asks for ---


def _bounded(length: int) -> int:
    return length if length <= limits.TRANSFER_BYTES_MAX else 0


def write_length(cdb: bytes, block_size: int) -> int:
    """All the blocks."""
    return _bounded(span_of(cdb)[1] * block_size)


def verify_length(cdb: bytes, block_size: int) -> int:
    """Nothing, all the blocks, or the one block to compare each with: BYTCHK 0, 1, 3."""
    check = cdb[1] >> 1 & 0x03
    count = span_of(cdb)[1]
    return _bounded({0: 0, 1: count * block_size, 2: 0, 3: block_size if count else 0}[check])


def compare_and_write_length(cdb: bytes, block_size: int) -> int:
    """The blocks to compare, then the blocks to write."""
    return 2 * span_of(cdb)[1] * block_size


# --- commands ---


def read(call: Call) -> bytes | Reply:
    """READ(6), (10), (12), (16); a data plane is told to go on, because the data of many would fill the memory."""
    if call.data_plane:
        check_span(call.unit, *span_of(call.cdb))
        return Reply(proceeds=True)
    lba, count = checked_span(call)
    size = call.unit.block_size
    return call.unit.medium.read(lba * size, count * size)


def write(call: Call) -> None:
    """WRITE(6), (10), (12), (16): of less data than the CDB says, the whole blocks that came."""
    lba, _ = checked_span(call)
    data = _whole_blocks(call)
    store(call, lba, data)
    written(call, force=call.cdb[0] >> 5 != 0 and bool(call.cdb[1] & _FUA))


def _whole_blocks(call: Call) -> memoryview:
    size = call.unit.block_size
    length = min(len(call.data_out), call.command.data_out_bytes(call.cdb, size))
    return memoryview(call.data_out)[: length // size * size]


def store(call: Call, lba: int, data: memoryview) -> None:
    """Writes whole blocks; one command at a time among those that are executed in Python."""
    if data:
        with call.unit.medium.lock:
            call.unit.medium.write(lba * call.unit.block_size, data)


def verify(call: Call) -> None:
    """VERIFY(10), (12), (16)."""
    lba, count = span_of(call.cdb)
    check_span(call.unit, lba, count)
    check = call.cdb[1] >> 1 & 0x03
    if check == 2:
        raise invalid_field(1, "BYTCHK 10b is reserved.", bit=2)
    size = call.unit.block_size
    if check == 1 and count * size > limits.TRANSFER_BYTES_MAX:
        raise invalid_field(7, "The data to compare is longer than VPD B0 allows.")
    _compare(call, lba, count, b"" if check == 0 else call.data_out, repeat=check == 3)


def _compare(call: Call, lba: int, count: int, expected: bytes, *, repeat: bool) -> None:
    """Reads the blocks; compares them with `expected` (all, or one block with each) unless it is empty."""
    size = call.unit.block_size
    start = lba * size
    view = memoryview(expected * (limits.STEP_BYTES // size) if repeat else expected)
    for offset, length in steps(call, start, count * size, size):
        data = call.unit.medium.read(offset, length)
        if not expected:
            continue
        at = 0 if repeat else offset - start
        wrong = first_difference(data, view[at : at + length])
        if wrong is not None:
            raise miscompare((at + wrong) % size if repeat else at + wrong)


def miscompare(offset: int) -> CommandError:
    """0E/1D/00 with the offset of the first wrong byte (SBC-3 5.2, 5.32)."""
    return CommandError(
        f"The data differs from byte {offset} on.",
        sense=codes.MISCOMPARE_DURING_VERIFY._replace(information=offset),
    )


def first_difference(one: bytes | memoryview, other: bytes | memoryview) -> int | None:
    """The index of the first byte that differs, or None; by halving, since comparing ranges is fast."""
    one, other = memoryview(one), memoryview(other)
    if one == other:
        return None
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def write_and_verify(call: Call) -> None:
    """WRITE AND VERIFY(10), (12), (16): on stable storage, read back, compared if BYTCHK is 1."""
    lba, _ = checked_span(call)
    check = call.cdb[1] >> 1 & 0x03
    if check > 1:
        raise invalid_field(1, "BYTCHK must be 00b or 01b.", bit=2)
    data = _whole_blocks(call)
    with call.unit.medium.lock:
        store(call, lba, data)
        written(call, force=True)
        _compare(call, lba, len(data) // call.unit.block_size, bytes(data) if check else b"", repeat=False)


def orwrite(call: Call) -> None:
    """ORWRITE(16): what is there or-ed with what came, in one step against all other commands."""
    lba, count = checked_span(call)
    size = call.unit.block_size
    with call.unit.medium.lock:
        for offset, length in steps(call, lba * size, count * size, size):
            came = int.from_bytes(call.data_out[offset - lba * size : offset - lba * size + length])
            there = int.from_bytes(call.unit.medium.read(offset, length))
            call.unit.medium.write(offset, memoryview((came | there).to_bytes(length)))
        written(call, force=bool(call.cdb[1] & _FUA))


def compare_and_write(call: Call) -> None:
    """COMPARE AND WRITE: the second half is written if the first is what is there (SBC-3 5.2)."""
    lba, count = span_of(call.cdb)
    check_span(call.unit, lba, count)
    size = call.unit.block_size
    expected, data = call.data_out[: count * size], call.data_out[count * size :]
    with call.unit.medium.lock:
        wrong = first_difference(call.unit.medium.read(lba * size, count * size), expected)
        if wrong is not None:
            raise miscompare(wrong)
        store(call, lba, memoryview(data))
        written(call, force=bool(call.cdb[1] & _FUA))


def write_atomic(call: Call) -> None:
    """WRITE ATOMIC(16): one step against all other commands (SBC-4 4.29)."""
    lba, count = span_of(call.cdb)
    check_span(call.unit, lba, count)
    if count * call.unit.block_size > limits.ATOMIC_BYTES_MAX:
        raise invalid_field(12, "The transfer is longer than an atomic one may be.")
    store(call, lba, memoryview(call.data_out))
    written(call, force=bool(call.cdb[1] & _FUA))
