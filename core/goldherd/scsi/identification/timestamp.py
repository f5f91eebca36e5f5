"""REPORT TIMESTAMP and SET TIMESTAMP: the clock of a unit, as initiators see and set it (SPC-4 6.38, 6.45).

It is the server's, until an initiator sets it; that time counts from then on, until the target is closed.
"""

import time

from goldherd.scsi import sense as codes
from goldherd.scsi.call import Call
from goldherd.scsi.sense import list_too_short

_LIST_BYTES = 12
_OF_THE_SERVER, _SET_BY_COMMAND = 0b011, 0b010
_BITS = 48


def _milliseconds() -> int:
    """Since 1970, UTC."""
    return time.time_ns() // 1_000_000


def report_timestamp(call: Call) -> bytes:
    """REPORT TIMESTAMP: milliseconds since 1970, and where they come from."""
    shift = call.unit.clock_shift
    now = (_milliseconds() + (shift or 0)) % (1 << _BITS)
    origin = _OF_THE_SERVER if shift is None else _SET_BY_COMMAND
    return bytes([0, 10, origin, 0]) + now.to_bytes(6) + bytes(2)


def set_timestamp(call: Call) -> None:
    """SET TIMESTAMP; the others are told (06/2A/10)."""
    length = call.list_bytes
    if length == 0:
        return
    if length < _LIST_BYTES or len(call.data_out) < _LIST_BYTES:
        raise list_too_short("The parameter list of SET TIMESTAMP has 12 bytes.")
    call.unit.clock_shift = int.from_bytes(call.data_out[4:10]) - _milliseconds()
    call.unit.attend(codes.TIMESTAMP_CHANGED, but=call.nexus)
