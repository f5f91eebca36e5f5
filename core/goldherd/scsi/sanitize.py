"""SANITIZE: makes everything that was ever written unreadable (SBC-3 5.24).

While it runs, the unit answers 02/04/1B to all that needs the medium; aborts and resets do not end it.
"""

import time
from collections.abc import Callable

import structlog

from goldherd import limits
from goldherd.errors import GoldherdError
from goldherd.scsi.call import Call, Reply
from goldherd.scsi.device import LogicalUnit
from goldherd.scsi.sense import invalid_field

_HEADER_BYTES = 4


def list_length(cdb: bytes, block_size: int) -> int:
    """PARAMETER LIST LENGTH, or 0 for a list that is refused for its length."""
    length = int.from_bytes(cdb[7:9])
    return length if length <= block_size + _HEADER_BYTES else 0


def overwrite(call: Call) -> Reply:
    """OVERWRITE: the pattern over the whole unit, as many times as asked, perhaps inverted each time."""
    size = call.unit.block_size
    length = int.from_bytes(call.cdb[7:9])
    data = call.data_out[:length]
    if not _HEADER_BYTES < length <= size + _HEADER_BYTES or len(data) < length:
        raise invalid_field(7, "The parameter list must hold a header and a pattern of at most one block.")
    count, invert = data[0] & 0x1F, bool(data[0] & 0x80)
    pattern = data[_HEADER_BYTES : _HEADER_BYTES + int.from_bytes(data[2:4])]
    if count == 0 or not pattern or int.from_bytes(data[2:4]) != length - _HEADER_BYTES:
        raise invalid_field(7, "The overwrite count and the pattern length must not be 0, nor go beyond the list.")
    block = (pattern * (size // len(pattern) + 1))[:size]
    inverted = bytes(byte ^ 0xFF for byte in block)
    passes = [inverted if invert and number % 2 else block for number in range(count)]

    def work(unit: LogicalUnit) -> None:
        begin = time.monotonic()
        end = unit.block_count * size
        for number, content in enumerate(passes):
            step = memoryview(content * (limits.STEP_BYTES // size))
            for offset in range(0, end, limits.STEP_BYTES):
                unit.write(offset, step[: min(limits.STEP_BYTES, end - offset)])
                done = (number + min(1.0, (offset + limits.STEP_BYTES) / end)) / count
                unit.sanitize_progress = done
                time.sleep(max(0.0, begin + done * limits.SANITIZE_SECONDS_MIN - time.monotonic()))

    return _run(call, work)


def erase(call: Call) -> Reply:
    """BLOCK ERASE and CRYPTOGRAPHIC ERASE: the unit reads as zeros, and takes no space if it can."""
    if int.from_bytes(call.cdb[7:9]):
        raise invalid_field(7, "This service action takes no parameter list.")

    def work(unit: LogicalUnit) -> None:
        end = unit.block_count * unit.block_size
        for offset in range(0, end, limits.STEP_BYTES):
            unit.discard(offset, min(limits.STEP_BYTES, end - offset))
            unit.sanitize_progress = offset / end

    return _run(call, work)


def exit_failure_mode(call: Call) -> None:
    """EXIT FAILURE MODE: the unit is usable again after a sanitize operation that failed."""
    if int.from_bytes(call.cdb[7:9]):
        raise invalid_field(7, "This service action takes no parameter list.")
    with call.unit.lock:
        call.unit.sanitize_failed = False
        call.unit.changed()


def _run(call: Call, work: Callable[[LogicalUnit], None]) -> Reply:
    unit = call.unit
    with unit.lock:
        unit.check_ready(to_sanitize=True)
        unit.sanitize_progress = 0.0
        unit.changed()
    if call.cdb[1] & 0x80:
        return Reply(after=lambda: _finish_quietly(unit, work))
    _finish(unit, work)
    return Reply()


def _finish(unit: LogicalUnit, work: Callable[[LogicalUnit], None]) -> None:
    failed = True
    try:
        unit.wait_for_writers()
        with unit.media:
            work(unit)
            unit.image.flush()
        failed = False
    finally:
        with unit.lock:
            unit.sanitize_progress = None
            unit.sanitize_failed = failed
            unit.changed()


def _finish_quietly(unit: LogicalUnit, work: Callable[[LogicalUnit], None]) -> None:
    """With IMMED nobody waits for the outcome: the unit says 03/31/03 from now on if it failed."""
    try:
        _finish(unit, work)
    except (GoldherdError, OSError):
        structlog.get_logger("goldherd.scsi").error("a sanitize operation failed", unit=repr(unit), exc_info=True)
