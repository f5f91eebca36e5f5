"""RECEIVE COPY RESULTS and its relatives: what copying can do, what became of a copy, its end (SPC-4 6.3, 6.19 to
6.26)."""

from typing import Final

from goldherd import limits
from goldherd.scsi.call import Call, TaskAbortedError
from goldherd.scsi.copying import extended_copy
from goldherd.scsi.fields import fields
from goldherd.scsi.sam import Status
from goldherd.scsi.sense import encode, invalid_field
from goldherd.scsi.state.copy_operations import CopyOperation, Progress
from goldherd.scsi.state.nexus import CopyResult

_COMPLETED, _COMPLETED_WITH_ERRORS = 0x01, 0x02
_KIBIBYTES = 0x01
_GRANULARITY_EXPONENT = 9
_SENSE_AT = 60
_LIST_IDENTIFIER_AT = 2
_DESTINATION_BLOCKS: Final = 0xF1
_NO_MORE_UPDATES: Final = 0xFFFFFFFE


def _result(call: Call) -> CopyResult:
    result = call.nexus.copy_results.get(call.cdb[2])
    if result is None:
        raise invalid_field(2, "No copy with that list identifier is known.")
    return result


def copy_status(call: Call) -> bytes:
    """COPY STATUS(LID1): commands are finished before they answer, so none is ever in progress here."""
    result = _result(call)
    status = _COMPLETED_WITH_ERRORS if result.sense else _COMPLETED
    data = bytes([status]) + result.segments.to_bytes(2) + bytes([_KIBIBYTES]) + (result.copied_bytes >> 10).to_bytes(4)
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
    codes = bytes([extended_copy.BLOCK_TO_BLOCK, extended_copy.IDENTIFICATION_DESCRIPTOR])
    parameters = {
        (4, 1): 0x01,  # SNLID: a list identifier is not needed
        (8, 2): limits.COPY_CSCD_DESCRIPTORS_MAX,
        (10, 2): limits.COPY_SEGMENTS_MAX,
        (12, 4): extended_copy.LIST_BYTES_MAX,
        (16, 4): limits.COPY_SEGMENT_BYTES_MAX,
        (34, 2): 1,  # TOTAL CONCURRENT COPIES
        (36, 1): 1,  # MAXIMUM CONCURRENT COPIES
        (37, 1): _GRANULARITY_EXPONENT,
        (43, 1): len(codes),
    }
    return (40 + len(codes)).to_bytes(4) + fields(44, parameters)[4:] + codes


# --- 32-bit list identifiers ---


def _operation(call: Call) -> CopyOperation:
    operation = call.nexus.operations.get(call.number(_LIST_IDENTIFIER_AT, 4))
    if operation is None:
        raise invalid_field(_LIST_IDENTIFIER_AT, "No copy with that list identifier is known.")
    return operation


def copy_status_lid4(call: Call) -> bytes:
    """RECEIVE COPY STATUS(LID4): the shared status header alone (SPC-4 table 248)."""
    data = _status_header(call, _operation(call))
    return (len(data)).to_bytes(4) + data


def rod_token_information(call: Call) -> bytes:
    """RECEIVE ROD TOKEN INFORMATION: the same with the token, if one was made (SPC-4 6.26, SBC-3 5.25).

    The token may be asked for again until its list identifier is used for something else; an ALLOCATION LENGTH
    of 0 forgets it.
    """
    operation = _operation(call)
    data = _status_header(call, operation)
    token = operation.token
    if not call.number(10, 4):
        operation.token = b""
    descriptor = bytes(2) + token if token else b""
    data += len(descriptor).to_bytes(4) + descriptor
    return len(data).to_bytes(4) + data


def _status_header(call: Call, operation: CopyOperation) -> bytes:
    """The shared third-party copy status header, without AVAILABLE DATA."""
    progress = operation.progress  # read once: another thread may be at work
    running = progress in (Progress.FOREGROUND, Progress.BACKGROUND)
    sense = b""
    status = Status.GOOD
    if progress is Progress.TERMINATED:
        status = Status.TASK_ABORTED
    elif operation.sense.key and not running:
        status = Status.CHECK_CONDITION
        sense = encode(operation.sense, descriptor=call.unit.mode.descriptor_sense)
    padded = sense + bytes(-len(sense) % 4)
    return (
        bytes([operation.action, progress])
        + (operation.steps & 0xFFFF).to_bytes(2)
        + (limits.COPY_UPDATE_MILLISECONDS if running else _NO_MORE_UPDATES).to_bytes(4)
        + bytes([status, len(padded), len(sense), _DESTINATION_BLOCKS])
        + operation.transferred_blocks.to_bytes(8)
        + bytes(8)  # no segments
        + padded
    )


def copy_operation_abort(call: Call) -> None:
    """COPY OPERATION ABORT: answers when nothing of the copy can reach a disk any more (SPC-4 5.17.4.7)."""
    operation = _operation(call)
    if not operation.running:
        raise invalid_field(_LIST_IDENTIFIER_AT, "That copy is not under way.")
    operation.cancel()
    while not operation.over.wait(limits.COPY_ABORT_LOOK_SECONDS):
        if call.aborted():
            raise TaskAbortedError
