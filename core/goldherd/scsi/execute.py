"""Carries out one command: the checks in the order of SAM-5 5.14 and SPC-4, then its handler, then its answer.

Handlers do only their own work; every exception becomes sense data here.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import structlog

from goldherd.errors import CommandError, ImageError, Sense
from goldherd.scsi import sense as codes
from goldherd.scsi.call import WITH_ACTIONS, Call, Command, Reply, TaskAbortedError
from goldherd.scsi.commands import TABLE, lookup
from goldherd.scsi.disk import provisioning
from goldherd.scsi.disk.extent import check_span, span_of
from goldherd.scsi.sam import Access, Need, Status
from goldherd.scsi.sense import encode, encode_error, invalid_field
from goldherd.scsi.state.device import LogicalUnit
from goldherd.scsi.state.nexus import Nexus


def execute(
    unit: LogicalUnit,
    nexus: Nexus,
    cdb: bytes,
    data_out: bytes = b"",
    *,
    expected_data_out: int | None = None,
    aborted: Callable[[], bool] | None = None,
    data_plane: bool = False,
) -> Reply:
    """Executes one command and never raises.

    Args:
        unit: the logical unit it was sent to.
        nexus: the nexus it came through, joined to that unit.
        cdb: the CDB; bytes behind its length are ignored.
        data_out: at most `Command.data_out_bytes()` bytes of what came with it.
        expected_data_out: Expected Data Transfer Length of a write, if it differs from len(data_out).
        aborted: says whether the task was aborted; long commands ask between their steps. The answer of an aborted
            command (TASK ABORTED) is not sent.
        data_plane: the caller serves reads itself when the Reply says that it `proceeds`.
    """
    command = lookup(cdb)
    if command is not None and not command.available(unit):
        command = None
    try:
        _check(unit, nexus, command, cdb)
        if command is None:
            raise _unknown(cdb)
        cdb = cdb[: command.cdb_length]
        check_bits(command, cdb)
        _check_medium(unit, command)
        expected = len(data_out) if expected_data_out is None else expected_data_out
        if command.length is not None and not _check_data_out(unit, command, cdb, expected, len(data_out)):
            return Reply(Status.BUSY)
        call = Call(nexus, unit, command, cdb, data_out, TABLE, data_plane=data_plane)
        if aborted is not None:
            call.aborted = aborted
        with unit.medium.writing() if command.medium is Need.WRITABLE else nullcontext():
            answer = command.handler(call)
    except CommandError as error:
        sense = encode_error(error, descriptor=unit.mode.descriptor_sense)
        overflows = error.sense == codes.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT
        return Reply(Status.CHECK_CONDITION, sense, overflows=overflows)
    except _ConflictError:
        return Reply(Status.RESERVATION_CONFLICT)
    except TaskAbortedError:
        return Reply(Status.TASK_ABORTED)
    except (ImageError, OSError) as error:
        return _image_error(unit, command, error)
    except Exception:
        structlog.get_logger("goldherd.scsi").exception("a command failed", unit=repr(unit), cdb=cdb.hex())
        return _check_condition(unit, codes.INTERNAL_TARGET_FAILURE)
    if isinstance(answer, Reply):
        return answer
    return Reply(data_in=cut(command, cdb, answer or b""))


class _ConflictError(Exception):
    """The command ends with RESERVATION CONFLICT."""


def _check(unit: LogicalUnit, nexus: Nexus, command: Command | None, cdb: bytes) -> None:
    """Reservation, then unit attention: both come before the CDB is looked at (SAM-5 5.3.3)."""
    access = command.access_of(cdb) if command else None
    if access is not None and unit.conflicts(nexus, access):
        raise _ConflictError
    if command is None or not command.passes_attention:
        attention = nexus.take_attention()
        if attention is not None:
            raise CommandError("A unit attention was pending.", sense=attention)


def _unknown(cdb: bytes) -> CommandError:
    if cdb[0] in WITH_ACTIONS:
        return invalid_field(1, f"Operation code {cdb[0]:02X}h has no such service action.", bit=4)
    return CommandError(
        f"Operation code {cdb[0]:02X}h is not supported.", sense=codes.INVALID_COMMAND_OPERATION_CODE, field=0
    )


def check_bits(command: Command, cdb: bytes) -> None:
    """05/24/00 with a pointer to the first bit that must be 0 and is not."""
    wrong = int.from_bytes(cdb) & command.forbidden
    if wrong:
        from_end, bit = divmod(wrong.bit_length() - 1, 8)
        field = command.cdb_length - 1 - from_end
        raise invalid_field(field, f"{command.name} has reserved or unsupported bits set.", bit=bit)


def _check_medium(unit: LogicalUnit, command: Command) -> None:
    if command.medium is Need.NOTHING:
        return
    unit.medium.check_ready(to_sanitize=command.medium is Need.SANITIZABLE)
    if command.medium is not Need.READY and unit.write_protected:
        raise CommandError("The unit is write protected.", sense=codes.WRITE_PROTECTED)


def _check_data_out(unit: LogicalUnit, command: Command, cdb: bytes, expected: int, came: int) -> bool:
    """Whether a command that takes blocks has its data. Raises CommandError when its length can't be right.

    Of a write that announced less than its CDB names, the whole blocks are stored, and the residual tells the rest. A
    length that ends inside a block is refused: GOOD would hide that a part of the data was not stored. False: less
    data came than was announced and asked for, because the slow path takes no more; an initiator tries again.
    """
    wanted = command.data_out_bytes(cdb, unit.block_size)
    if expected < wanted and expected % unit.block_size:
        check_span(unit, *span_of(cdb))
        raise CommandError(
            f"{command.name} came with data that ends inside a block.",
            sense=codes.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT,
        )
    missing = came < min(expected, wanted)
    if command.exact and (expected != wanted or missing):
        _refuse_length(unit, command, cdb)
    return not missing


def _refuse_length(unit: LogicalUnit, command: Command, cdb: bytes) -> None:
    """Too much or too little data-out for a command that can't do with a part: first what else is wrong."""
    if command.length is not provisioning.write_same_length:
        check_span(unit, *span_of(cdb))
    raise invalid_field(command.cdb_length - 2, f"{command.name} came with another amount of data than it names.")


def cut(command: Command, cdb: bytes, data: bytes) -> bytes:
    """Parameter data is cut to the allocation length, which is no error (SPC-4 4.2.5.6)."""
    offset, size = command.allocation
    return data[: int.from_bytes(cdb[offset : offset + size])] if size else data


# --- errors of the medium ---


def io_error(unit: LogicalUnit, kind: str, number: int, lba: int | None = None) -> Reply:
    """The answer for I/O that failed in the data plane.

    Args:
        kind: "read", "write", "flush" or "discard".
        number: the errno, of either sign.
        lba: the first block concerned, for the INFORMATION field of medium errors.
    """
    return _check_condition(unit, codes.of_errno(kind, number, lba))


def _image_error(unit: LogicalUnit, command: Command | None, error: ImageError | OSError) -> Reply:
    reads = command is not None and command.medium is Need.READY and command.access is not Access.WRITE
    sense = codes.of_image_error(error, "read" if reads else "write", unit.block_size)
    if sense != codes.SPACE_ALLOCATION_FAILED:  # of that the watch over full disks tells (target/space/full.py)
        structlog.get_logger("goldherd.scsi").error("a disk failed", unit=repr(unit), reason=str(error))
    return replace(_check_condition(unit, sense), lacks_space=sense == codes.SPACE_ALLOCATION_FAILED)


def _check_condition(unit: LogicalUnit, sense: Sense) -> Reply:
    return Reply(Status.CHECK_CONDITION, encode(sense, descriptor=unit.mode.descriptor_sense))
