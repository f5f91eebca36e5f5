"""SANITIZE: makes everything that was ever written unreadable (SBC-3 5.24).

While it runs, the unit answers 02/04/1B to all that needs the medium; aborts and resets do not end it.
"""

import time
from collections.abc import Callable

import structlog

from goldherd import limits
from goldherd.errors import GoldherdError
from goldherd.scsi.call import Call, Reply
from goldherd.scsi.sense import invalid_field
from goldherd.scsi.state.device import LogicalUnit

_HEADER_BYTES = 4


def overwrite(call: Call) -> Reply:
    """OVERWRITE: the pattern over the whole unit, as many times as asked, perhaps inverted each time."""
    size = call.unit.block_size
    length = call.list_bytes
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
                unit.medium.write(offset, step[: min(limits.STEP_BYTES, end - offset)])
                done = (number + min(1.0, (offset + limits.STEP_BYTES) / end)) / count
                unit.medium.sanitize_progress = done
                time.sleep(max(0.0, begin + done * limits.SANITIZE_SECONDS_MIN - time.monotonic()))

    return _run(call, work)


def erase(call: Call) -> Reply:
    """BLOCK ERASE and CRYPTOGRAPHIC ERASE: the unit reads as zeros, and takes no space if it can."""
    if int.from_bytes(call.cdb[7:9]):
        raise invalid_field(7, "This service action takes no parameter list.")

    def work(unit: LogicalUnit) -> None:
        end = unit.block_count * unit.block_size
        for offset in range(0, end, limits.STEP_BYTES):
            unit.medium.discard(offset, min(limits.STEP_BYTES, end - offset))
            unit.medium.sanitize_progress = offset / end

    return _run(call, work)


def exit_failure(call: Call) -> None:
    """EXIT FAILURE MODE: the unit is usable again after a sanitize operation that failed."""
    if int.from_bytes(call.cdb[7:9]):
        raise invalid_field(7, "This service action takes no parameter list.")
    with call.unit.lock:
        call.unit.medium.sanitize_failed = False
        call.unit.changed()


def _run(call: Call, work: Callable[[LogicalUnit], None]) -> Reply:
    unit = call.unit
    with unit.lock:
        unit.medium.begin_sanitize()
        unit.changed()
    if call.cdb[1] & 0x80:
        return Reply(after=lambda: _finish_quietly(unit, work))
    _finish(unit, work)
    return Reply()


def _finish(unit: LogicalUnit, work: Callable[[LogicalUnit], None]) -> None:
    failed = True
    try:
        unit.medium.wait_for_writers()
        with unit.medium.lock:
            work(unit)
            unit.medium.flush()
        failed = False
    finally:
        with unit.lock:
            unit.medium.end_sanitize(failed=failed)
            unit.changed()


def _finish_quietly(unit: LogicalUnit, work: Callable[[LogicalUnit], None]) -> None:
    """With IMMED the answer is on its way already: if the operation fails, the unit says 03/31/03 from now on."""
    try:
        _finish(unit, work)
    except (GoldherdError, OSError):
        structlog.get_logger("goldherd.scsi").error("a sanitize operation failed", unit=repr(unit), exc_info=True)
