"""READ CAPACITY and GET LBA STATUS: how large the unit is, what takes space (SBC-3 5.4, 5.15, 5.16)."""

from goldherd import limits
from goldherd.scsi.call import Call
from goldherd.scsi.disk.extent import check_span
from goldherd.scsi.sense import invalid_field

_MAPPED, _DEALLOCATED = 0, 1


def read_capacity_10(call: Call) -> bytes:
    """READ CAPACITY(10): FFFFFFFFh sends the client to READ CAPACITY(16)."""
    if call.number(2, 4) and not call.cdb[8] & 0x01:
        raise invalid_field(2, "An LBA without PMI.")
    return min(call.unit.block_count - 1, 0xFFFFFFFF).to_bytes(4) + call.unit.block_size.to_bytes(4)


def read_capacity_16(call: Call) -> bytes:
    """READ CAPACITY(16)."""
    unit = call.unit
    data = bytearray(32)
    data[0:8] = (unit.block_count - 1).to_bytes(8)
    data[8:12] = unit.block_size.to_bytes(4)
    data[13] = unit.blocks_per_physical_exponent
    if unit.thin:
        data[14] = 0xC0  # LBPME, LBPRZ
    return bytes(data)


def get_lba_status(call: Call) -> bytes:
    """GET LBA STATUS: runs of mapped and deallocated blocks from the LBA on, as many as were asked for."""
    lba = call.number(2, 8)
    check_span(call.unit, lba, 0)
    wanted = max(1, (call.number(10, 4) - 8) // 16)
    runs = _runs(call, lba, min(wanted, limits.LBA_STATUS_DESCRIPTORS_MAX))
    data = bytearray((4 + 16 * len(runs)).to_bytes(4) + bytes(4))
    for start, count, state in runs:
        data += start.to_bytes(8) + count.to_bytes(4) + bytes([state, 0, 0, 0])
    return bytes(data)


def _runs(call: Call, lba: int, runs_max: int) -> list[tuple[int, int, int]]:
    """(LBA, blocks, state); neighbours of one state joined, none longer than 32 bits can say."""
    unit = call.unit
    runs: list[tuple[int, int, int]] = []
    for _ in range(limits.LBA_STATUS_LOOKUPS_MAX):
        if lba >= unit.block_count:
            break
        count, state = _run_at(call, lba)
        if runs and runs[-1][2] == state and runs[-1][1] + count <= 0xFFFFFFFF:
            runs[-1] = (runs[-1][0], runs[-1][1] + count, state)
        elif len(runs) == runs_max:
            break
        else:
            runs.append((lba, count, state))
        lba += count
    return runs


def _run_at(call: Call, lba: int) -> tuple[int, int]:
    """(blocks, state) of the run at lba. A block that is partly a hole counts as mapped."""
    unit = call.unit
    rest = min(unit.block_count - lba, 0xFFFFFFFF)
    if not unit.thin:
        return rest, _MAPPED
    length, hole = unit.medium.image.extent_at(lba * unit.block_size, rest * unit.block_size)
    if hole:
        whole = length // unit.block_size
        return (whole, _DEALLOCATED) if whole else (1, _MAPPED)
    return min(rest, -(-length // unit.block_size)), _MAPPED
