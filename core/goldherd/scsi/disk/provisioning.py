"""WRITE SAME and UNMAP: fill or free ranges without carrying their data (SBC-3 5.28, 5.42, 5.43)."""

from goldherd import limits
from goldherd.errors import CommandError
from goldherd.scsi import sense as codes
from goldherd.scsi.call import Call
from goldherd.scsi.disk.extent import check_span, span_of, steps, written
from goldherd.scsi.sense import invalid_field, invalid_parameter, list_too_short
from goldherd.scsi.state.device import LogicalUnit

_UNMAP_HEADER_BYTES = 8
_UNMAP_DESCRIPTOR_BYTES = 16


def write_same_length(cdb: bytes, block_size: int) -> int:
    """One block, or nothing with NDOB, which only the 16-byte form has."""
    return 0 if cdb[0] == 0x93 and cdb[1] & 0x01 else block_size


def write_same(call: Call) -> None:
    """WRITE SAME(10) and (16)."""
    unit = call.unit
    lba, count = span_of(call.cdb)
    check_span(unit, lba, count)
    if count == 0 and unit.wsnz:
        raise invalid_field(10 if call.cdb[0] == 0x93 else 7, "WRITE SAME must name a number of blocks (WSNZ).")
    count = count or unit.block_count - lba
    unmap = bool(call.cdb[1] & 0x08)
    if unmap and not unit.thin:
        raise invalid_field(1, "This unit is fully provisioned and can't unmap.", bit=3)
    block = call.data_out[: unit.block_size]
    fill(call, lba, count, block, discard=unmap and not any(block))
    written(call)


def fill(call: Call, lba: int, count: int, block: bytes, *, discard: bool) -> None:
    """Writes one block again and again, or frees the range when it is zeros and may be freed."""
    unit = call.unit
    size = unit.block_size
    pattern = memoryview((block or bytes(size)) * (limits.STEP_BYTES // size))
    for offset, length in steps(call, lba * size, count * size, size):
        with unit.medium.lock:
            if discard:
                unit.medium.discard(offset, length)
            else:
                unit.medium.write(offset, pattern[:length])


def unmap(call: Call) -> None:
    """UNMAP: checks the whole list, then frees range after range."""
    ranges = _unmap_ranges(call)
    size = call.unit.block_size
    for lba, count in ranges:
        for offset, length in steps(call, lba * size, count * size, size):
            with call.unit.medium.lock:
                call.unit.medium.discard(offset, length)
    if ranges:
        written(call)


def _unmap_ranges(call: Call) -> list[tuple[int, int]]:
    """(LBA, blocks) of every descriptor (SBC-3 table 93)."""
    length = call.list_bytes
    if length == 0:
        return []
    data = call.data_out[:length]
    if len(data) < _UNMAP_HEADER_BYTES or len(data) < length:
        raise list_too_short("The UNMAP parameter list ends inside its header.")
    whole = int.from_bytes(data[2:4]) // _UNMAP_DESCRIPTOR_BYTES
    here = (len(data) - _UNMAP_HEADER_BYTES) // _UNMAP_DESCRIPTOR_BYTES
    descriptors = min(whole, here)
    if descriptors > limits.UNMAP_DESCRIPTORS_MAX:
        raise invalid_parameter(2, "The list holds more descriptors than VPD B0 allows.")
    ranges = []
    for index in range(descriptors):
        at = _UNMAP_HEADER_BYTES + index * _UNMAP_DESCRIPTOR_BYTES
        lba, count = int.from_bytes(data[at : at + 8]), int.from_bytes(data[at + 8 : at + 12])
        _check_unmap(call.unit, lba, count)
        ranges.append((lba, count))
    if sum(count for _, count in ranges) > limits.UNMAP_BLOCKS_MAX:
        raise invalid_parameter(_UNMAP_HEADER_BYTES, "The list frees more blocks than VPD B0 allows.")
    return ranges


def _check_unmap(unit: LogicalUnit, lba: int, count: int) -> None:
    """A descriptor of no blocks frees nothing and is right anywhere on the unit, its end included."""
    if count == 0 and lba <= unit.block_count:
        return
    if lba >= unit.block_count or count > unit.block_count - lba:
        raise CommandError("The list names blocks beyond the unit's last.", sense=codes.LBA_OUT_OF_RANGE)
