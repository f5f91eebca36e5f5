"""EXTENDED COPY(LID1): copies blocks between the units of a target (SPC-4 6.4).

Takes identification descriptors as sources and destinations, and block-to-block segments. Everything is
checked before the first block moves; then it works in steps. What became of it is told by copy_results.py.
"""

from dataclasses import dataclass
from typing import Final

import structlog

from goldherd import limits
from goldherd.errors import CommandError, ImageError
from goldherd.scsi import sense as codes
from goldherd.scsi.call import Call, Reply, TaskAbortedError
from goldherd.scsi.disk.extent import steps, written
from goldherd.scsi.sam import Access, Status
from goldherd.scsi.sense import encode, list_too_short
from goldherd.scsi.state.device import LogicalUnit
from goldherd.scsi.state.nexus import CopyResult

IDENTIFICATION_DESCRIPTOR: Final = 0xE4
BLOCK_TO_BLOCK: Final = 0x02
HEADER_BYTES: Final = 16
CSCD_BYTES: Final = 32
SEGMENT_BYTES: Final = 28
LIST_BYTES_MAX: Final = limits.COPY_CSCD_DESCRIPTORS_MAX * CSCD_BYTES + limits.COPY_SEGMENTS_MAX * SEGMENT_BYTES
"""MAXIMUM DESCRIPTOR LIST LENGTH."""
_EUI_64, _NAA = 2, 3


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes to copy from one unit to another."""

    source: LogicalUnit
    source_offset: int
    destination: LogicalUnit
    destination_offset: int
    length: int


def extended_copy(call: Call) -> Reply | None:
    """EXTENDED COPY(LID1)."""
    length = call.list_bytes
    if length == 0:
        return None
    data = call.data_out[:length]
    if not HEADER_BYTES <= length <= limits.PARAMETER_LIST_BYTES_MAX or len(data) < length:
        raise list_too_short("The parameter list of EXTENDED COPY has a wrong length.")
    list_identifier = data[0]
    segments = _parse(call, data)
    if any(
        segment.source.conflicts(call.nexus, Access.READ) or segment.destination.conflicts(call.nexus, Access.WRITE)
        for segment in segments
    ):
        return Reply(Status.RESERVATION_CONFLICT)
    done, copied = 0, 0
    try:
        for segment in segments:
            _copy(call, segment)
            done, copied = done + 1, copied + segment.length
    except (CommandError, ImageError, OSError, TaskAbortedError) as error:
        failed = encode(codes.COPY_ABORTED, descriptor=call.unit.mode.descriptor_sense)
        call.nexus.keep_copy_result(list_identifier, CopyResult(done, copied, failed))
        if isinstance(error, (CommandError, TaskAbortedError)):
            raise
        structlog.get_logger("goldherd.scsi").error("a copy failed", unit=repr(call.unit), reason=str(error))
        raise CommandError("A disk failed during the copy.", sense=codes.COPY_ABORTED) from error
    call.nexus.keep_copy_result(list_identifier, CopyResult(done, copied, b""))
    return None


def _copy(call: Call, segment: Segment) -> None:
    with segment.destination.medium.writing():
        for offset, length in steps(call, segment.source_offset, segment.length):
            segment.destination.medium.check_ready()
            data = segment.source.medium.read(offset, length)
            at = segment.destination_offset + offset - segment.source_offset
            segment.destination.medium.write(at, memoryview(data))
    if not segment.destination.mode.write_cache:
        segment.destination.medium.flush()
    written(call)


def _parse(call: Call, data: bytes) -> list[Segment]:
    """Checks the whole list (SPC-4 table 115)."""
    cscd_bytes = int.from_bytes(data[2:4])
    segment_bytes = int.from_bytes(data[8:12])
    inline_bytes = int.from_bytes(data[12:16])
    if inline_bytes:
        raise CommandError("Inline data is not taken.", sense=codes.INLINE_DATA_LENGTH_EXCEEDED)
    if HEADER_BYTES + cscd_bytes + segment_bytes > len(data) or cscd_bytes + segment_bytes > LIST_BYTES_MAX:
        raise list_too_short("The descriptors don't fit the parameter list, or the list is too long.")
    if cscd_bytes % CSCD_BYTES:
        raise list_too_short("The CSCD descriptor list ends inside a descriptor.")
    if cscd_bytes // CSCD_BYTES > limits.COPY_CSCD_DESCRIPTORS_MAX:
        raise CommandError("Too many CSCD descriptors.", sense=codes.TOO_MANY_TARGET_DESCRIPTORS)
    segments_at = HEADER_BYTES + cscd_bytes
    units = [_unit_of(call, data[at : at + CSCD_BYTES]) for at in range(HEADER_BYTES, segments_at, CSCD_BYTES)]
    return _parse_segments(data[: segments_at + segment_bytes], segments_at, units)


def _unit_of(call: Call, descriptor: bytes) -> LogicalUnit | None:
    """The unit a CSCD descriptor names, among those of the target; None when it names none of them.

    LU ID TYPE and NUL are obsolete in SPC-4 and not looked at.
    """
    if descriptor[0] != IDENTIFICATION_DESCRIPTOR:
        raise CommandError(
            "Only identification descriptors name a CSCD.", sense=codes.UNSUPPORTED_TARGET_DESCRIPTOR_TYPE
        )
    kind, value = descriptor[5] & 0x0F, descriptor[8 : 8 + descriptor[7]]
    for unit in call.unit.target.units.values():
        if value == {_NAA: unit.naa, _EUI_64: unit.eui64}.get(kind):
            return unit
    return None


def _parse_segments(data: bytes, at: int, units: list[LogicalUnit | None]) -> list[Segment]:
    segments: list[Segment] = []
    while at < len(data):
        if len(data) < at + 4:
            raise list_too_short("The segment descriptor list ends inside a descriptor.")
        if data[at] != BLOCK_TO_BLOCK:
            raise CommandError(
                "Only block-to-block segments are copied.", sense=codes.UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE
            )
        descriptor = data[at : at + SEGMENT_BYTES]
        if len(descriptor) < SEGMENT_BYTES or int.from_bytes(descriptor[2:4]) != SEGMENT_BYTES - 4:
            raise list_too_short("A block-to-block segment descriptor has 28 bytes.")
        if len(segments) == limits.COPY_SEGMENTS_MAX:
            raise CommandError("Too many segment descriptors.", sense=codes.TOO_MANY_SEGMENT_DESCRIPTORS)
        segments.append(_segment(descriptor, units))
        at += SEGMENT_BYTES
    return segments


def _segment(descriptor: bytes, units: list[LogicalUnit | None]) -> Segment:
    """A block-to-block segment (SPC-4 6.4.6.5); DC says whose blocks are counted."""
    source = _reachable(units, int.from_bytes(descriptor[4:6]))
    destination = _reachable(units, int.from_bytes(descriptor[6:8]))
    counted = destination if descriptor[1] & 0x02 else source
    length = int.from_bytes(descriptor[10:12]) * counted.block_size
    source_offset = int.from_bytes(descriptor[12:20]) * source.block_size
    destination_offset = int.from_bytes(descriptor[20:28]) * destination.block_size
    for unit, offset in ((source, source_offset), (destination, destination_offset)):
        if length % unit.block_size or offset + length > unit.block_count * unit.block_size:
            raise CommandError("A segment lies outside its unit.", sense=codes.COPY_ABORTED)
        unit.medium.check_ready()
    if destination.write_protected:
        raise CommandError("The destination is write protected.", sense=codes.WRITE_PROTECTED)
    return Segment(source, source_offset, destination, destination_offset, length)


def _reachable(units: list[LogicalUnit | None], index: int) -> LogicalUnit:
    unit = units[index] if index < len(units) else None
    if unit is None:
        raise CommandError("A segment names a CSCD that can't be reached.", sense=codes.COPY_TARGET_NOT_REACHABLE)
    return unit
