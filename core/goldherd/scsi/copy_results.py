"""RECEIVE COPY RESULTS: what EXTENDED COPY can do, and what became of one (SPC-4 6.19, 6.20)."""

from goldherd import limits
from goldherd.scsi import copy
from goldherd.scsi.call import Call
from goldherd.scsi.nexus import CopyResult
from goldherd.scsi.sense import invalid_field

_COMPLETED, _COMPLETED_WITH_ERRORS = 0x01, 0x02
_KIBIBYTES = 0x01
_GRANULARITY_EXPONENT = 9
_SENSE_AT = 60


def _result(call: Call) -> CopyResult:
    result = call.nexus.copy_results.get(call.cdb[2])
    if result is None:
        raise invalid_field(2, "No copy with that list identifier is known.")
    return result


def copy_status(call: Call) -> bytes:
    """COPY STATUS(LID1): commands are finished before they answer, so none is ever in progress here."""
    result = _result(call)
    status = _COMPLETED_WITH_ERRORS if result.sense else _COMPLETED
    data = (
        bytes([status])
        + result.segments.to_bytes(2)
        + bytes([_KIBIBYTES])
        + (result.copied_bytes >> 10).to_bytes(4)
    )
    return len(data).to_bytes(4) + data


def failed_segment_details(call: Call) -> bytes:
    """FAILED SEGMENT DETAILS: nothing when no segment failed."""
    result = _result(call)
    if not result.sense:
        return bytes(4)
    data = bytearray(_SENSE_AT) + result.sense
    data[0:4] = (len(data) - 4).to_bytes(4)
    data[56] = 0x02  # the copy's status: CHECK CONDITION
    data[58:60] = len(result.sense).to_bytes(2)
    return bytes(data)


def operating_parameters(call: Call) -> bytes:  # noqa: ARG001 - the signature of all handlers
    """OPERATING PARAMETERS (SPC-4 6.19.3); a field that is not named is 0."""
    codes = bytes([copy.BLOCK_TO_BLOCK, copy.IDENTIFICATION_DESCRIPTOR])
    values = {
        (4, 1): 0x01,  # SNLID: a list identifier is not needed
        (8, 2): limits.COPY_CSCD_DESCRIPTORS_MAX,
        (10, 2): limits.COPY_SEGMENTS_MAX,
        (12, 4): copy.LIST_BYTES_MAX,
        (16, 4): limits.COPY_SEGMENT_BYTES_MAX,
        (34, 2): 1,  # TOTAL CONCURRENT COPIES
        (36, 1): 1,  # MAXIMUM CONCURRENT COPIES
        (37, 1): _GRANULARITY_EXPONENT,
        (43, 1): len(codes),
    }
    data = bytearray(44) + codes
    for (offset, length), value in values.items():
        data[offset : offset + length] = value.to_bytes(length)
    data[0:4] = (len(data) - 4).to_bytes(4)
    return bytes(data)
