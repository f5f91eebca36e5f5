"""POPULATE TOKEN and WRITE USING TOKEN: offloaded copies as Windows does them (SBC-3 4.28, 5.12, 5.59).

The first makes a token for ranges of the unit (rod.py), the second writes what a token stands for. How they ended
is asked by list identifier afterwards (copy_results.py). A token is made at once, so IMMED of POPULATE TOKEN
changes nothing; WRITE USING TOKEN with IMMED answers when its list was checked and goes on behind its answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import structlog

from goldherd import limits
from goldherd.errors import CommandError, GoldherdError, ImageError
from goldherd.scsi import sense as codes
from goldherd.scsi.call import Call, Reply, TaskAbortedError
from goldherd.scsi.disk.extent import steps, written
from goldherd.scsi.sam import Status
from goldherd.scsi.sense import invalid_parameter, list_too_short
from goldherd.scsi.state.copy_operations import CopyOperation, Progress
from goldherd.scsi.state.device import LogicalUnit
from goldherd.scsi.state.rods import POINT_IN_TIME_TYPES, TOKEN_BYTES, TOKEN_LENGTH, ZERO, Rod

POPULATE_TOKEN, WRITE_USING_TOKEN = 0x10, 0x11
_IMMED, _RTV, _DEL_TKN = 0x01, 0x02, 0x02
_DESCRIPTOR_BYTES = 16
_POPULATE_HEADER_BYTES = 16
_TOKEN_AT = 16
_WRITE_HEADER_BYTES = _TOKEN_AT + TOKEN_BYTES + 8
_ZEROS = bytes(limits.STEP_BYTES)


def populate_token(call: Call) -> Reply | None:
    """POPULATE TOKEN; runs alone on the unit, so that no write is half done while the token is made."""
    data = _parameters(call, _POPULATE_HEADER_BYTES)
    if not data:
        return None
    if int.from_bytes(data[0:2]) < _POPULATE_HEADER_BYTES + _DESCRIPTOR_BYTES - 2:
        raise invalid_parameter(0, "POPULATE TOKEN DATA LENGTH has no place for a range.")
    timeout = int.from_bytes(data[4:8])
    if timeout > limits.ROD_INACTIVITY_SECONDS_MAX:
        raise invalid_parameter(4, "INACTIVITY TIMEOUT is longer than VPD 8F allows.")
    if data[2] & _RTV and int.from_bytes(data[8:12]) not in POINT_IN_TIME_TYPES:
        raise invalid_parameter(8, "Tokens of that ROD TYPE are not made.")
    ranges = _ranges(call.unit, data, _POPULATE_HEADER_BYTES)
    operation = CopyOperation(POPULATE_TOKEN)
    if not call.nexus.begin_copy(call.number(6, 4), operation):
        return Reply(Status.TASK_SET_FULL)
    size = call.unit.block_size
    try:
        if ranges:
            in_bytes = [(lba * size, count * size) for lba, count in ranges]
            rod = call.unit.target.rods.create(
                call.unit.rod_origin, in_bytes, call.nexus.port, timeout or limits.ROD_INACTIVITY_SECONDS
            )
            operation.token = rod.token
    except CommandError as error:
        operation.end(Progress.FAILED, error.sense)
        raise
    operation.transferred_blocks = sum(count for _, count in ranges)
    operation.end(Progress.COMPLETED)
    return None


def write_using_token(call: Call) -> Reply | None:
    """WRITE USING TOKEN."""
    data = _parameters(call, _WRITE_HEADER_BYTES)
    if not data:
        return None
    work = _work(call, data)
    try:
        background = bool(data[2] & _IMMED)
        operation = CopyOperation(WRITE_USING_TOKEN, Progress.BACKGROUND if background else Progress.FOREGROUND)
        if not call.nexus.begin_copy(call.number(6, 4), operation):
            work.close(call)
            return Reply(Status.TASK_SET_FULL)
    except CommandError:
        work.close(call)
        raise
    if background:
        return Reply(after=lambda: _perform_quietly(call, work, operation))
    _perform(call, work, operation)
    return None


def _parameters(call: Call, header_bytes: int) -> bytes:
    """The parameter list, or nothing when none is announced; 05/1A/00 when it ends inside its header."""
    length = call.list_bytes
    data = call.data_out[:length]
    if length and (not header_bytes <= length <= limits.PARAMETER_LIST_BYTES_MAX or len(data) < length):
        raise list_too_short(f"The parameter list of {call.command.name} has a wrong length.")
    return data


def _ranges(unit: LogicalUnit, data: bytes, begin: int) -> list[tuple[int, int]]:
    """(LBA, blocks) of the block device range descriptors (SBC-3 5.12.3), without those of no blocks."""
    length = int.from_bytes(data[begin - 2 : begin])
    if length < _DESCRIPTOR_BYTES:
        raise invalid_parameter(begin - 2, "There must be at least one range descriptor.")
    count = min(length, len(data) - begin) // _DESCRIPTOR_BYTES  # cut ones are ignored
    if count > limits.ROD_RANGES_MAX:
        raise CommandError("More ranges than VPD 8F allows.", sense=codes.TOO_MANY_SEGMENT_DESCRIPTORS)
    ranges = []
    for at in range(begin, begin + count * _DESCRIPTOR_BYTES, _DESCRIPTOR_BYTES):
        lba, blocks = int.from_bytes(data[at : at + 8]), int.from_bytes(data[at + 8 : at + 12])
        if lba > unit.block_count or blocks > unit.block_count - lba:
            raise CommandError("A range lies outside the unit.", sense=codes.LBA_OUT_OF_RANGE)
        if blocks:
            ranges.append((lba, blocks))
    in_order = sorted(ranges)
    if any(lba + blocks > after for (lba, blocks), (after, _) in pairwise(in_order)):
        raise invalid_parameter(begin, "Two ranges hold the same block.")
    if sum(blocks for _, blocks in ranges) * unit.block_size > limits.ROD_BYTES_MAX:
        raise invalid_parameter(begin, "The ranges are larger than VPD 8F allows.")
    return ranges


@dataclass(frozen=True, slots=True)
class _Work:
    """A WRITE USING TOKEN whose list was checked; `rod` is None for zeros, and in use otherwise."""

    rod: Rod | None
    offset: int
    ranges: Sequence[tuple[int, int]]
    delete: bool

    def close(self, call: Call) -> None:
        """Gives the token back unused."""
        if self.rod is not None:
            call.unit.target.rods.close(self.rod)

    def available_blocks(self, block_size: int) -> int:
        """Blocks that the token has to offer; of the last one perhaps a part, which zeros fill up."""
        if self.rod is None:
            return limits.ROD_BYTES_MAX
        return -(-(self.rod.length - self.offset) // block_size)


def _work(call: Call, data: bytes) -> _Work:
    """Checks the parameter list of WRITE USING TOKEN (SBC-3 5.59.2) and opens its token."""
    unit = call.unit
    ranges_bytes = int.from_bytes(data[_WRITE_HEADER_BYTES - 2 : _WRITE_HEADER_BYTES])
    length = int.from_bytes(data[0:2])
    if length < _WRITE_HEADER_BYTES + _DESCRIPTOR_BYTES - 2 or length != _WRITE_HEADER_BYTES - 2 + ranges_bytes:
        raise invalid_parameter(0, "WRITE USING TOKEN DATA LENGTH doesn't fit the ranges.")
    token = data[_TOKEN_AT : _TOKEN_AT + TOKEN_BYTES]
    ranges = _ranges(unit, data, _WRITE_HEADER_BYTES)
    if int.from_bytes(token[0:4]) == ZERO:
        if int.from_bytes(token[6:8]) != TOKEN_LENGTH:
            raise CommandError("A ROD token has 512 bytes.", sense=codes.TOKEN_LENGTH_INVALID)
        return _Work(None, 0, ranges, delete=False)
    work = _Work(
        unit.target.rods.open(token),
        int.from_bytes(data[8:16]) * unit.block_size,
        ranges,
        bool(data[2] & _DEL_TKN),
    )
    if work.rod is not None and work.offset >= work.rod.length:
        work.close(call)
        raise invalid_parameter(8, "OFFSET INTO ROD lies behind the token's data.")
    return work


def _perform(call: Call, work: _Work, operation: CopyOperation) -> None:
    """Copies, and says to the operation how it ended."""
    before = call.aborted
    call.aborted = lambda: operation.cancelled or before()
    try:
        short = _copy_and_close(call, work, operation)
    except TaskAbortedError:
        operation.end(Progress.TERMINATED)
        if operation.cancelled and not before():
            raise CommandError("The copy was ended by another command.", sense=codes.COPY_CLEARED) from None
        raise
    except CommandError as error:
        operation.end(Progress.FAILED, error.sense)
        raise
    except (ImageError, OSError) as error:
        operation.end(Progress.FAILED, codes.of_image_error(error, "write", call.unit.block_size))
        raise
    except BaseException:
        operation.end(Progress.FAILED, codes.INTERNAL_TARGET_FAILURE)
        raise
    if short:
        underrun = codes.COPY_UNDERRUN._replace(information=operation.transferred_blocks)
        operation.end(Progress.PARTIAL, underrun)
        raise CommandError("The token has less data than was asked for.", sense=underrun)
    operation.end(Progress.COMPLETED)


def _perform_quietly(call: Call, work: _Work, operation: CopyOperation) -> None:
    """In the background: RECEIVE ROD TOKEN INFORMATION is the only one who tells (SBC-3 5.59.2)."""
    if not operation.start():
        work.close(call)
        return
    try:
        _perform(call, work, operation)
    except (GoldherdError, OSError, TaskAbortedError) as error:
        log = structlog.get_logger("goldherd.scsi")
        reason = str(error) or "it was ended"
        log.warning("a copy in the background did not get to its end", unit=repr(call.unit), reason=reason)
    except Exception:
        structlog.get_logger("goldherd.scsi").exception("a copy failed", unit=repr(call.unit))


def _copy_and_close(call: Call, work: _Work, operation: CopyOperation) -> bool:
    """Writes the ranges; whether the token had too little for them."""
    operation.start()
    try:
        with call.unit.medium.writing():  # in the background the command itself is over
            return _copy(call, work, operation)
    finally:
        if work.rod is not None:
            call.unit.target.rods.close(work.rod, delete=work.delete)


def _copy(call: Call, work: _Work, operation: CopyOperation) -> bool:
    size = call.unit.block_size
    rest = work.available_blocks(size)
    put = _putter(call.unit, work)
    position = work.offset
    for lba, blocks in work.ranges:
        for offset, length in steps(call, lba * size, min(blocks, rest) * size, size):
            put(offset, length, position)
            position += length
            operation.transferred_blocks += length // size
            operation.steps += 1
        rest -= min(blocks, rest)
    written(call)
    return operation.transferred_blocks < sum(blocks for _, blocks in work.ranges)


def _putter(unit: LogicalUnit, work: _Work) -> Callable[[int, int, int], None]:
    """A function that writes (offset, length) of the unit from a position of the ROD."""
    rod = work.rod
    if rod is not None:
        return lambda offset, length, position: unit.medium.write(offset, memoryview(rod.read(position, length)))
    if unit.thin:
        return lambda offset, length, _: unit.medium.discard(offset, length)
    return lambda offset, length, _: unit.medium.write(offset, memoryview(_ZEROS)[:length])
