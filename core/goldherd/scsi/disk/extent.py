"""The extent of a command: the blocks its CDB names, whether they exist, the steps in which long commands work."""

from collections.abc import Iterator
from typing import Final

from goldherd import limits
from goldherd.errors import CommandError
from goldherd.scsi import sense as codes
from goldherd.scsi.call import Call, TaskAbortedError
from goldherd.scsi.sense import invalid_field
from goldherd.scsi.state.device import LogicalUnit

# LBA and length in a CDB: (offset, bytes) of each, by the group code of the operation code, and the exceptions.
_FIELDS: Final = {0: (1, 3, 4, 1), 1: (2, 4, 7, 2), 2: (2, 4, 7, 2), 4: (2, 8, 10, 4), 5: (2, 4, 6, 4)}
_ODD_FIELDS: Final = {0x89: (2, 8, 13, 1), 0x9C: (2, 8, 12, 2)}
_LBA_BITS_6: Final = 0x1FFFFF


def span_of(cdb: bytes) -> tuple[int, int]:
    """(LBA, number of blocks) of a CDB; READ(6) and WRITE(6) mean 256 by 0 (SBC-3 5.7)."""
    lba_at, lba_bytes, count_at, count_bytes = _ODD_FIELDS.get(cdb[0]) or _FIELDS[cdb[0] >> 5]
    lba = int.from_bytes(cdb[lba_at : lba_at + lba_bytes])
    count = int.from_bytes(cdb[count_at : count_at + count_bytes])
    if cdb[0] >> 5 == 0:
        return lba & _LBA_BITS_6, count or 256
    return lba, count


def check_span(unit: LogicalUnit, lba: int, count: int) -> None:
    """05/21/00 unless the blocks exist; an LBA behind the last block is wrong even for no blocks at all."""
    if lba >= unit.block_count or count > unit.block_count - lba:
        raise CommandError(
            f"Blocks {lba} to {lba + count} lie outside the unit's {unit.block_count}.",
            sense=codes.LBA_OUT_OF_RANGE,
        )


def checked_span(call: Call) -> tuple[int, int]:
    """LBA and length of a transfer that is in range and not above MAXIMUM TRANSFER LENGTH."""
    lba, count = span_of(call.cdb)
    check_span(call.unit, lba, count)
    if count * call.unit.block_size > limits.TRANSFER_BYTES_MAX:
        raise invalid_field(10 if call.cdb[0] >> 5 == 4 else 7, "The transfer is longer than VPD B0 allows.")
    return lba, count


def steps(call: Call, offset: int, length: int, multiple: int = 512) -> Iterator[tuple[int, int]]:
    """(offset, length) pieces of a byte range, each a multiple of `multiple`.

    Between two pieces the command ends when its task was aborted, or the medium ejected or sanitized.
    """
    step = limits.STEP_BYTES // multiple * multiple
    end = offset + length
    while offset < end:
        if call.aborted():
            raise TaskAbortedError
        call.unit.medium.check_ready()
        part = min(step, end - offset)
        yield offset, part
        offset += part


def written(call: Call, *, force: bool = False) -> None:
    """Ends a write: on stable storage first if FUA or a disabled write cache asks for it."""
    if force or not call.unit.mode.write_cache:
        call.unit.medium.flush()
