"""Every command this target knows, in one table, and how one is executed.

The table is the only list: REPORT SUPPORTED OPERATION CODES, the check of reserved bits, the reservation
check and the choice of thread are all made from it. `execute` does the checks in the order of SAM-5 5.14 and
SPC-4 and turns every exception into sense data; handlers do only their own work.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Final

import structlog

from goldherd.errors import CommandError, ImageError, Sense
from goldherd.scsi import (
    capacity,
    copy,
    copy_results,
    mode,
    odx,
    opcodes,
    persistent_in,
    persistent_out,
    provisioning,
    reserve,
    sanitize,
    state,
    target,
    timestamp,
    transfer,
)
from goldherd.scsi import sense as codes
from goldherd.scsi.call import Access, Call, Command, Direction, Medium, Reply, Status, TaskAbortedError
from goldherd.scsi.device import LogicalUnit, Target
from goldherd.scsi.inquiry import absent, inquiry
from goldherd.scsi.nexus import Nexus
from goldherd.scsi.sense import encode, encode_error, invalid_field

_IN, _OUT = Direction.IN, Direction.OUT
_READY, _WRITABLE, _SANITIZABLE = Medium.READY, Medium.WRITABLE, Medium.SANITIZABLE
_FREE, _READ, _WRITE = Access.FREE, Access.READ, Access.WRITE

# fmt: off
TABLE: Final[tuple[Command, ...]] = (
    # --- identification and state ---
    Command("TEST UNIT READY", "00 00 00 00 00 04", state.test_unit_ready, medium=_READY),
    Command("REQUEST SENSE", "03 01 .. .. ff 04", state.request_sense,
            direction=_IN, access=_FREE, allocation=(4, 1), passes_attention=True),
    Command("INQUIRY", "12 01 ff ff ff 04", inquiry,
            direction=_IN, access=_FREE, allocation=(3, 2), passes_attention=True),
    Command("REPORT LUNS", "a0 .. ff .. .. .. ff ff ff ff .. 04", target.report_luns,
            direction=_IN, access=_FREE, allocation=(6, 4), passes_attention=True),
    Command("READ CAPACITY(10)", "25 .. ff ff ff ff .. .. 01 04", capacity.read_capacity_10,
            direction=_IN, medium=_READY, access=_FREE),
    Command("READ CAPACITY(16)", "9e 10 .. .. .. .. .. .. .. .. ff ff ff ff .. 04", capacity.read_capacity_16,
            action=0x10, direction=_IN, medium=_READY, access=_FREE, allocation=(10, 4)),
    Command("GET LBA STATUS", "9e 12 ff ff ff ff ff ff ff ff ff ff ff ff .. 04", capacity.get_lba_status,
            action=0x12, direction=_IN, medium=_READY, access=_READ, allocation=(10, 4), blocking=True),
    Command("START STOP UNIT", "1b 01 .. .. f7 04", state.start_stop_unit,
            access=state.start_stop_access, blocking=True),
    Command("PREVENT ALLOW MEDIUM REMOVAL", "1e .. .. .. 01 04", state.prevent_allow_medium_removal,
            access=state.prevent_access),
    Command("SEND DIAGNOSTIC", "1d 17 .. ff ff 04", state.send_diagnostic,
            direction=_OUT, access=_WRITE, length=state.send_diagnostic_length),
    Command("LOG SENSE", "4d 01 7f ff .. .. .. ff ff 04", state.log_sense,
            direction=_IN, access=_FREE, allocation=(7, 2)),
    Command("MODE SENSE(6)", "1a 08 ff ff ff 04", mode.mode_sense,
            direction=_IN, access=_WRITE, allocation=(4, 1)),
    Command("MODE SENSE(10)", "5a 18 ff ff .. .. .. ff ff 04", mode.mode_sense,
            direction=_IN, access=_WRITE, allocation=(7, 2)),
    Command("MODE SELECT(6)", "15 11 .. .. ff 04", mode.mode_select,
            direction=_OUT, access=_WRITE, length=mode.select_length),
    Command("MODE SELECT(10)", "55 11 .. .. .. .. .. ff ff 04", mode.mode_select,
            direction=_OUT, access=_WRITE, length=mode.select_length),

    # --- reading, writing, comparing ---
    Command("READ(6)", "08 1f ff ff ff 04", transfer.read,
            direction=_IN, medium=_READY, access=_READ, blocking=True),
    Command("READ(10)", "28 1a ff ff ff ff .. ff ff 04", transfer.read,
            direction=_IN, medium=_READY, access=_READ, blocking=True),
    Command("READ(12)", "a8 1a ff ff ff ff ff ff ff ff .. 04", transfer.read,
            direction=_IN, medium=_READY, access=_READ, blocking=True),
    Command("READ(16)", "88 1a ff ff ff ff ff ff ff ff ff ff ff ff .. 04", transfer.read,
            direction=_IN, medium=_READY, access=_READ, blocking=True),
    Command("WRITE(6)", "0a 1f ff ff ff 04", transfer.write,
            length=transfer.write_length, direction=_OUT, medium=_WRITABLE, access=_WRITE, blocking=True),
    Command("WRITE(10)", "2a 1a ff ff ff ff .. ff ff 04", transfer.write,
            length=transfer.write_length, direction=_OUT, medium=_WRITABLE, access=_WRITE, blocking=True),
    Command("WRITE(12)", "aa 1a ff ff ff ff ff ff ff ff .. 04", transfer.write,
            length=transfer.write_length, direction=_OUT, medium=_WRITABLE, access=_WRITE, blocking=True),
    Command("WRITE(16)", "8a 1a ff ff ff ff ff ff ff ff ff ff ff ff .. 04", transfer.write,
            length=transfer.write_length, direction=_OUT, medium=_WRITABLE, access=_WRITE, blocking=True),
    Command("VERIFY(10)", "2f 16 ff ff ff ff .. ff ff 04", transfer.verify,
            direction=_OUT, medium=_READY, access=_READ, length=transfer.verify_length, exact=True,
            blocking=True),
    Command("VERIFY(12)", "af 16 ff ff ff ff ff ff ff ff .. 04", transfer.verify,
            direction=_OUT, medium=_READY, access=_READ, length=transfer.verify_length, exact=True,
            blocking=True),
    Command("VERIFY(16)", "8f 16 ff ff ff ff ff ff ff ff ff ff ff ff .. 04", transfer.verify,
            direction=_OUT, medium=_READY, access=_READ, length=transfer.verify_length, exact=True,
            blocking=True),
    Command("WRITE AND VERIFY(10)", "2e 16 ff ff ff ff .. ff ff 04", transfer.write_and_verify,
            length=transfer.write_length, direction=_OUT, medium=_WRITABLE, access=_WRITE, blocking=True),
    Command("WRITE AND VERIFY(12)", "ae 16 ff ff ff ff ff ff ff ff .. 04", transfer.write_and_verify,
            length=transfer.write_length, direction=_OUT, medium=_WRITABLE, access=_WRITE, blocking=True),
    Command("WRITE AND VERIFY(16)", "8e 16 ff ff ff ff ff ff ff ff ff ff ff ff .. 04",
            transfer.write_and_verify, length=transfer.write_length, direction=_OUT, medium=_WRITABLE,
            access=_WRITE, blocking=True),
    Command("ORWRITE(16)", "8b 18 ff ff ff ff ff ff ff ff ff ff ff ff .. 04", transfer.orwrite,
            length=transfer.write_length, exact=True, exclusive=True, direction=_OUT, medium=_WRITABLE,
            access=_WRITE, blocking=True),
    Command("COMPARE AND WRITE", "89 18 ff ff ff ff ff ff ff ff .. .. .. ff .. 04",
            transfer.compare_and_write, length=transfer.compare_and_write_length, exact=True,
            exclusive=True, direction=_OUT, medium=_WRITABLE, access=_WRITE, blocking=True),
    Command("WRITE ATOMIC(16)", "9c 18 ff ff ff ff ff ff ff ff 00 00 ff ff .. 04", transfer.write_atomic,
            length=transfer.write_length, exact=True, exclusive=True, direction=_OUT, medium=_WRITABLE,
            access=_WRITE, blocking=True),
    Command("PRE-FETCH(10)", "34 02 ff ff ff ff .. ff ff 04", state.pre_fetch, medium=_READY, access=_READ),
    Command("PRE-FETCH(16)", "90 02 ff ff ff ff ff ff ff ff ff ff ff ff .. 04", state.pre_fetch,
            medium=_READY, access=_READ),
    Command("SYNCHRONIZE CACHE(10)", "35 06 ff ff ff ff .. ff ff 04", state.synchronize_cache,
            medium=_READY, access=_WRITE, blocking=True),
    Command("SYNCHRONIZE CACHE(16)", "91 06 ff ff ff ff ff ff ff ff ff ff ff ff .. 04",
            state.synchronize_cache, medium=_READY, access=_WRITE, blocking=True),
    Command("READ DEFECT DATA(10)", "37 .. 1f .. .. .. .. ff ff 04", state.read_defect_data,
            direction=_IN, medium=_READY, access=_READ, allocation=(7, 2)),
    Command("READ DEFECT DATA(12)", "b7 1f .. .. .. .. ff ff ff ff .. 04", state.read_defect_data,
            direction=_IN, medium=_READY, access=_READ, allocation=(6, 4)),

    # --- filling and freeing ---
    Command("WRITE SAME(10)", "41 08 ff ff ff ff .. ff ff 04", provisioning.write_same,
            length=provisioning.write_same_length, exact=True, direction=_OUT, medium=_WRITABLE,
            access=_WRITE, blocking=True),
    Command("WRITE SAME(16)", "93 09 ff ff ff ff ff ff ff ff ff ff ff ff .. 04", provisioning.write_same,
            length=provisioning.write_same_length, exact=True, direction=_OUT, medium=_WRITABLE,
            access=_WRITE, blocking=True),
    Command("UNMAP", "42 00 .. .. .. .. .. ff ff 04", provisioning.unmap,
            length=provisioning.unmap_length, thin_only=True, direction=_OUT, medium=_WRITABLE,
            access=_WRITE, blocking=True),
    Command("SANITIZE OVERWRITE", "48 a1 00 00 00 00 00 ff ff 04", sanitize.overwrite,
            action=0x01, length=sanitize.list_length, direction=_OUT, medium=_SANITIZABLE, access=_WRITE,
            blocking=True, exclusive=True, survives_abort=True),
    Command("SANITIZE BLOCK ERASE", "48 a2 00 00 00 00 00 ff ff 04", sanitize.erase,
            action=0x02, medium=_SANITIZABLE, access=_WRITE, blocking=True, exclusive=True,
            survives_abort=True, thin_only=True),
    Command("SANITIZE CRYPTOGRAPHIC ERASE", "48 a3 00 00 00 00 00 ff ff 04", sanitize.erase,
            action=0x03, medium=_SANITIZABLE, access=_WRITE, blocking=True, exclusive=True,
            survives_abort=True, thin_only=True),
    Command("SANITIZE EXIT FAILURE MODE", "48 bf 00 00 00 00 00 ff ff 04", sanitize.exit_failure_mode,
            action=0x1F, access=_WRITE),

    # --- reservations ---
    Command("RESERVE(6)", "16 00 .. .. .. 04", reserve.reserve, access=None, exclusive=True),
    Command("RELEASE(6)", "17 00 .. .. .. 04", reserve.release, access=None),
    Command("RESERVE(10)", "56 00 .. .. .. .. .. .. .. 04", reserve.reserve, access=None, exclusive=True),
    Command("RELEASE(10)", "57 00 .. .. .. .. .. .. .. 04", reserve.release, access=None),
    Command("PERSISTENT RESERVE IN READ KEYS", "5e 00 .. .. .. .. .. ff ff 04", persistent_in.read_keys,
            action=0x00, direction=_IN, access=_FREE, allocation=(7, 2)),
    Command("PERSISTENT RESERVE IN READ RESERVATION", "5e 01 .. .. .. .. .. ff ff 04",
            persistent_in.read_reservation, action=0x01, direction=_IN, access=_FREE, allocation=(7, 2)),
    Command("PERSISTENT RESERVE IN REPORT CAPABILITIES", "5e 02 .. .. .. .. .. ff ff 04",
            persistent_in.report_capabilities, action=0x02, direction=_IN, access=_FREE, allocation=(7, 2)),
    Command("PERSISTENT RESERVE IN READ FULL STATUS", "5e 03 .. .. .. .. .. ff ff 04",
            persistent_in.read_full_status, action=0x03, direction=_IN, access=_FREE, allocation=(7, 2)),
    Command("PERSISTENT RESERVE OUT REGISTER", "5f 00 ff .. .. ff ff ff ff 04", persistent_out.register,
            action=0x00, direction=_OUT, access=None, length=persistent_out.list_length, blocking=True,
            exclusive=True),
    Command("PERSISTENT RESERVE OUT RESERVE", "5f 01 ff .. .. ff ff ff ff 04", persistent_out.reserve,
            action=0x01, direction=_OUT, access=None, length=persistent_out.list_length, blocking=True,
            exclusive=True),
    Command("PERSISTENT RESERVE OUT RELEASE", "5f 02 ff .. .. ff ff ff ff 04", persistent_out.release,
            action=0x02, direction=_OUT, access=None, length=persistent_out.list_length, blocking=True,
            exclusive=True),
    Command("PERSISTENT RESERVE OUT CLEAR", "5f 03 ff .. .. ff ff ff ff 04", persistent_out.clear,
            action=0x03, direction=_OUT, access=None, length=persistent_out.list_length, blocking=True,
            exclusive=True),
    Command("PERSISTENT RESERVE OUT PREEMPT", "5f 04 ff .. .. ff ff ff ff 04", persistent_out.preempt,
            action=0x04, direction=_OUT, access=None, length=persistent_out.list_length, blocking=True,
            exclusive=True),
    Command("PERSISTENT RESERVE OUT PREEMPT AND ABORT", "5f 05 ff .. .. ff ff ff ff 04",
            persistent_out.preempt_and_abort, action=0x05, direction=_OUT, access=None,
            length=persistent_out.list_length, blocking=True, exclusive=True),
    Command("PERSISTENT RESERVE OUT REGISTER AND IGNORE EXISTING KEY", "5f 06 ff .. .. ff ff ff ff 04",
            persistent_out.register_and_ignore, action=0x06, direction=_OUT, access=None,
            length=persistent_out.list_length, blocking=True, exclusive=True),
    Command("PERSISTENT RESERVE OUT REGISTER AND MOVE", "5f 07 ff .. .. ff ff ff ff 04",
            persistent_out.register_and_move, action=0x07, direction=_OUT, access=None,
            length=persistent_out.list_length, blocking=True, exclusive=True),

    # --- copying ---
    Command("EXTENDED COPY(LID1)", "83 00 .. .. .. .. .. .. .. .. ff ff ff ff .. 04", copy.extended_copy,
            action=0x00, direction=_OUT, access=None, medium=_READY, length=copy.list_length, blocking=True),
    Command("POPULATE TOKEN", "83 10 .. .. .. .. ff ff ff ff ff ff ff ff 3f 04", odx.populate_token,
            action=0x10, direction=_OUT, access=_READ, medium=_READY, length=copy.list_length, blocking=True,
            exclusive=True),
    Command("WRITE USING TOKEN", "83 11 .. .. .. .. ff ff ff ff ff ff ff ff 3f 04", odx.write_using_token,
            action=0x11, direction=_OUT, access=_WRITE, medium=_WRITABLE, length=copy.list_length,
            blocking=True),
    Command("COPY OPERATION ABORT", "83 1c ff ff ff ff .. .. .. .. .. .. .. .. .. 04",
            copy_results.copy_operation_abort, action=0x1C, blocking=True),
    Command("RECEIVE COPY STATUS(LID1)", "84 00 ff .. .. .. .. .. .. .. ff ff ff ff .. 04",
            copy_results.copy_status, action=0x00, direction=_IN, access=_WRITE, allocation=(10, 4)),
    Command("RECEIVE COPY OPERATING PARAMETERS", "84 03 ff .. .. .. .. .. .. .. ff ff ff ff .. 04",
            copy_results.operating_parameters, action=0x03, direction=_IN, access=_WRITE, allocation=(10, 4)),
    Command("RECEIVE COPY FAILED SEGMENT DETAILS", "84 04 ff .. .. .. .. .. .. .. ff ff ff ff .. 04",
            copy_results.failed_segment_details, action=0x04, direction=_IN, access=_WRITE, allocation=(10,
            4)),
    Command("RECEIVE COPY STATUS(LID4)", "84 05 ff ff ff ff .. .. .. .. ff ff ff ff .. 04",
            copy_results.copy_status_lid4, action=0x05, direction=_IN, access=_WRITE, allocation=(10, 4)),
    Command("RECEIVE ROD TOKEN INFORMATION", "84 07 ff ff ff ff .. .. .. .. ff ff ff ff .. 04",
            copy_results.rod_token_information, action=0x07, direction=_IN, access=_WRITE, allocation=(10, 4)),

    # --- about the target ---
    Command("REPORT TARGET PORT GROUPS", "a3 2a .. .. .. .. ff ff ff ff .. 04",
            target.report_target_port_groups, action=0x0A, direction=_IN, allocation=(6, 4)),
    Command("REPORT SUPPORTED OPERATION CODES", "a3 0c 87 ff ff ff ff ff ff ff .. 04",
            opcodes.report_supported_operation_codes, action=0x0C, direction=_IN, allocation=(6, 4)),
    Command("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", "a3 0d 80 .. .. .. ff ff ff ff .. 04",
            target.report_task_management_functions, action=0x0D, direction=_IN, allocation=(6, 4)),
    Command("REPORT TIMESTAMP", "a3 0f .. .. .. .. ff ff ff ff .. 04", timestamp.report_timestamp, action=0x0F,
            direction=_IN, allocation=(6, 4)),
    Command("SET TIMESTAMP", "a4 0f .. .. .. .. ff ff ff ff .. 04", timestamp.set_timestamp, action=0x0F,
            direction=_OUT, access=_WRITE, length=timestamp.set_timestamp_length),
)
# fmt: on

_BY_OPCODE: Final[dict[tuple[int, int | None], Command]] = {(line.opcode, line.action): line for line in TABLE}
_WITH_ACTIONS: Final = frozenset(line.opcode for line in TABLE if line.action is not None)
_ACTION_MASK: Final = 0x1F


def lookup(cdb: bytes) -> Command | None:
    """The command of a CDB, or None when its operation code or service action is not supported."""
    action = cdb[1] & _ACTION_MASK if cdb[0] in _WITH_ACTIONS else None
    return _BY_OPCODE.get((cdb[0], action))


def execute(
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
        nexus: who sent it, to which unit.
        cdb: the CDB; bytes behind its length are ignored.
        data_out: at most `Command.data_out_bytes()` bytes of what came with it.
        expected_data_out: Expected Data Transfer Length of a write, if it differs from len(data_out).
        aborted: says whether the task was aborted; long commands ask between their steps. What an aborted
            command answers (TASK ABORTED) is for nobody.
        data_plane: the caller serves reads itself when the Reply says that it `proceeds`.
    """
    unit = nexus.unit
    command = lookup(cdb)
    if command is not None and not command.available(unit):
        command = None
    try:
        _check(nexus, command, cdb)
        if command is None:
            raise _unknown(cdb)
        cdb = cdb[: command.cdb_length]
        _check_bits(command, cdb)
        _check_medium(unit, command)
        expected = len(data_out) if expected_data_out is None else expected_data_out
        if command.exact and expected != command.data_out_bytes(cdb, unit.block_size):
            _refuse_length(unit, command, cdb)
        call = Call(nexus, unit, command, cdb, data_out, TABLE, data_plane=data_plane)
        if aborted is not None:
            call.aborted = aborted
        with unit.writing() if command.medium is Medium.WRITABLE else nullcontext():
            answer = command.handler(call)
    except CommandError as error:
        return Reply(Status.CHECK_CONDITION, encode_error(error, descriptor=unit.mode.descriptor_sense))
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
    return Reply(data_in=_cut(command, cdb, answer or b""))


class _ConflictError(Exception):
    """The command meets RESERVATION CONFLICT."""


def _check(nexus: Nexus, command: Command | None, cdb: bytes) -> None:
    """Reservation, then unit attention: both come before the CDB is looked at (SAM-5 5.3.3)."""
    access = command.access_of(cdb) if command else None
    if access is not None and nexus.unit.conflicts(nexus, access):
        raise _ConflictError
    if command is None or not command.passes_attention:
        attention = nexus.take_attention()
        if attention is not None:
            raise CommandError("A unit attention was pending.", sense=attention)


def _unknown(cdb: bytes) -> CommandError:
    if cdb[0] in _WITH_ACTIONS:
        return invalid_field(1, f"Operation code {cdb[0]:02X}h has no such service action.", bit=4)
    return CommandError(
        f"Operation code {cdb[0]:02X}h is not supported.", sense=codes.INVALID_COMMAND_OPERATION_CODE, field=0
    )


def _check_bits(command: Command, cdb: bytes) -> None:
    """05/24/00 with a pointer to the first bit that must be 0 and is not."""
    wrong = int.from_bytes(cdb) & command.forbidden
    if wrong:
        from_end, bit = divmod(wrong.bit_length() - 1, 8)
        field = command.cdb_length - 1 - from_end
        raise invalid_field(field, f"{command.name} has reserved or unsupported bits set.", bit=bit)


def _check_medium(unit: LogicalUnit, command: Command) -> None:
    if command.medium is Medium.NOT_NEEDED:
        return
    unit.check_ready(to_sanitize=command.medium is Medium.SANITIZABLE)
    if command.medium is not Medium.READY and unit.write_protected:
        raise CommandError("The unit is write protected.", sense=codes.WRITE_PROTECTED)


def _refuse_length(unit: LogicalUnit, command: Command, cdb: bytes) -> None:
    """Too much or too little data-out for a command that can't do with a part: first what else is wrong."""
    if command.length is not provisioning.write_same_length:
        transfer.check_span(unit, *transfer.span_of(cdb))
    raise invalid_field(command.cdb_length - 2, f"{command.name} came with another amount of data than it names.")


def _cut(command: Command, cdb: bytes, data: bytes) -> bytes:
    """Parameter data is cut to the allocation length without a word (SPC-4 4.2.5.6)."""
    if command.allocation is None:
        return data
    offset, length = command.allocation
    return data[: int.from_bytes(cdb[offset : offset + length])]


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
    reads = command is not None and command.medium is Medium.READY
    structlog.get_logger("goldherd.scsi").error("a disk failed", unit=repr(unit), reason=str(error))
    return _check_condition(unit, codes.of_image_error(error, "read" if reads else "write", unit.block_size))


def _check_condition(unit: LogicalUnit, sense: Sense) -> Reply:
    return Reply(Status.CHECK_CONDITION, encode(sense, descriptor=unit.mode.descriptor_sense))


# --- a LUN that isn't there ---


def execute_without_unit(target_: Target, cdb: bytes) -> Reply:
    """The answer of a LUN that doesn't exist (SPC-4 6.6.2, 6.33, 6.39): it can be asked what it is not."""
    command = lookup(cdb)
    data = _ABSENT.get(cdb[0])
    if command is None or data is None:
        return Reply(Status.CHECK_CONDITION, encode(codes.LOGICAL_UNIT_NOT_SUPPORTED))
    cdb = cdb[: command.cdb_length]
    try:
        _check_bits(command, cdb)
        return Reply(data_in=_cut(command, cdb, data(target_, cdb)))
    except CommandError as error:
        return Reply(Status.CHECK_CONDITION, encode_error(error, descriptor=False))


def _absent_inquiry(target_: Target, cdb: bytes) -> bytes:  # noqa: ARG001 - the signature of all of them
    if cdb[1] & 0x01 or cdb[2]:
        raise CommandError("There is no such logical unit.", sense=codes.LOGICAL_UNIT_NOT_SUPPORTED)
    return absent()


def _absent_sense(target_: Target, cdb: bytes) -> bytes:  # noqa: ARG001
    return encode(codes.LOGICAL_UNIT_NOT_SUPPORTED, descriptor=bool(cdb[1] & 0x01))


def _absent_report_luns(target_: Target, cdb: bytes) -> bytes:
    if cdb[2] > 2:
        raise invalid_field(2, "SELECT REPORT must be 00h, 01h or 02h.")
    return target.lun_list(target_, cdb[2])


_ABSENT: Final[dict[int, Callable[[Target, bytes], bytes]]] = {
    0x12: _absent_inquiry,
    0x03: _absent_sense,
    0xA0: _absent_report_luns,
}
