"""The table of all commands that goldherd knows (SPC-4, SBC-3), one line each.

The table is the only list: REPORT SUPPORTED OPERATION CODES, the check of reserved bits, the reservation check and the
choice of thread are all made from it. A line gives the name, the CDB as `Command.usage` describes it, the handler, and
what differs from its family. execute.py carries commands out.
"""

from functools import partial
from typing import Final

from goldherd.scsi.call import SERVICE_ACTION, WITH_ACTIONS, Command, Handler
from goldherd.scsi.copying import copy_results, extended_copy, odx
from goldherd.scsi.disk import cache, capacity, condition, provisioning, sanitize, transfer
from goldherd.scsi.identification import diagnostics, inquiry, mode, opcodes, ports, timestamp
from goldherd.scsi.reservations import persistent_in, persistent_out, reserve
from goldherd.scsi.sam import Access, Direction, Need

_IN, _OUT = Direction.IN, Direction.OUT
_READY, _WRITABLE, _SANITIZABLE = Need.READY, Need.WRITABLE, Need.SANITIZABLE

# Families: the fields that commands of one kind share.
_report = partial(Command, direction=_IN)
_identify = partial(_report, access=Access.FREE)
_tell = partial(_identify, passes_attention=True)
_sense = partial(_report, access=Access.WRITE)
_select = partial(Command, direction=_OUT, access=Access.WRITE)
_look = partial(Command, medium=_READY, access=Access.READ)
_defects = partial(_look, direction=_IN)
_read = partial(_look, direction=_IN, blocking=True)
_verify = partial(_look, direction=_OUT, length=transfer.verify_length, exact=True, blocking=True)
_flush = partial(Command, medium=_READY, access=Access.WRITE, blocking=True)
_change = partial(_select, medium=_WRITABLE, blocking=True)
_write = partial(_change, length=transfer.write_length)
_atomic = partial(_change, length=transfer.write_length, exact=True, exclusive=True)
_compare = partial(_change, length=transfer.compare_and_write_length, exact=True, exclusive=True)
_same = partial(_change, length=provisioning.write_same_length, exact=True)
_sanitize = partial(
    Command, blocking=True, exclusive=True, medium=_SANITIZABLE, access=Access.WRITE, survives_abort=True
)
_wait = partial(Command, blocking=True)
_reserve = partial(Command, access=None)
_copy = partial(Command, direction=_OUT, access=None, medium=_READY, blocking=True)
_populate = partial(_copy, access=Access.READ, exclusive=True)


def _reserve_out(action: str, usage: str, handler: Handler) -> Command:
    """A service action of PERSISTENT RESERVE OUT; it decides itself whether it conflicts."""
    name = f"PERSISTENT RESERVE OUT {action}"
    return Command(name, usage, handler, direction=_OUT, access=None, blocking=True, exclusive=True)


# Command blocks that several commands share, from the byte behind the operation code or service action on.
_BLOCKS_10, _BLOCKS_12 = "ff ff ff ff .. ff ff 04", "ff ff ff ff ff ff ff ff .. 04"
_BLOCKS_16 = "ff ff ff ff ff ff ff ff ff ff ff ff .. 04"
_RESERVE_OUT = "ff .. .. pl pl pl pl 04"
_RESERVE_IN = ".. .. .. .. .. al al 04"
_ALLOCATION = "al al al al .. 04"
_ABOUT = f".. .. .. .. {_ALLOCATION}"

TABLE: Final[tuple[Command, ...]] = (
    # --- identification and state ---
    Command("TEST UNIT READY", "00 00 00 00 00 04", condition.test_unit_ready, medium=_READY),
    _tell("REQUEST SENSE", "03 01 .. .. al 04", condition.request_sense),
    _tell("INQUIRY", "12 01 ff al al 04", inquiry.inquiry),
    _tell("REPORT LUNS", "a0 .. ff .. .. .. al al al al .. 04", ports.report_luns),
    _identify("READ CAPACITY(10)", "25 .. ff ff ff ff .. .. 01 04", capacity.read_capacity_10, medium=_READY),
    _identify("READ CAPACITY(16)", f"9e 10 .. .. .. .. {_ABOUT}", capacity.read_capacity_16, medium=_READY),
    _read("GET LBA STATUS", "9e 12 ff ff ff ff ff ff ff ff al al al al .. 04", capacity.get_lba_status),
    _wait("START STOP UNIT", "1b 01 .. .. f7 04", condition.start_stop_unit, access=condition.start_stop_access),
    Command("PREVENT ALLOW MEDIUM REMOVAL", "1e .. .. .. 01 04", condition.prevent, access=condition.prevent_access),
    _select("SEND DIAGNOSTIC", "1d 17 .. pl pl 04", diagnostics.send_diagnostic),
    _identify("LOG SENSE", "4d 01 7f ff .. .. .. al al 04", diagnostics.log_sense),
    _sense("MODE SENSE(6)", "1a 08 ff ff al 04", mode.mode_sense),
    _sense("MODE SENSE(10)", "5a 18 ff ff .. .. .. al al 04", mode.mode_sense),
    _select("MODE SELECT(6)", "15 11 .. .. pl 04", mode.mode_select),
    _select("MODE SELECT(10)", "55 11 .. .. .. .. .. pl pl 04", mode.mode_select),
    # --- reading, writing, comparing ---
    _read("READ(6)", "08 1f ff ff ff 04", transfer.read),
    _read("READ(10)", f"28 1a {_BLOCKS_10}", transfer.read),
    _read("READ(12)", f"a8 1a {_BLOCKS_12}", transfer.read),
    _read("READ(16)", f"88 1a {_BLOCKS_16}", transfer.read),
    _write("WRITE(6)", "0a 1f ff ff ff 04", transfer.write),
    _write("WRITE(10)", f"2a 1a {_BLOCKS_10}", transfer.write),
    _write("WRITE(12)", f"aa 1a {_BLOCKS_12}", transfer.write),
    _write("WRITE(16)", f"8a 1a {_BLOCKS_16}", transfer.write),
    _verify("VERIFY(10)", f"2f 16 {_BLOCKS_10}", transfer.verify),
    _verify("VERIFY(12)", f"af 16 {_BLOCKS_12}", transfer.verify),
    _verify("VERIFY(16)", f"8f 16 {_BLOCKS_16}", transfer.verify),
    _write("WRITE AND VERIFY(10)", f"2e 16 {_BLOCKS_10}", transfer.write_and_verify),
    _write("WRITE AND VERIFY(12)", f"ae 16 {_BLOCKS_12}", transfer.write_and_verify),
    _write("WRITE AND VERIFY(16)", f"8e 16 {_BLOCKS_16}", transfer.write_and_verify),
    _atomic("ORWRITE(16)", f"8b 18 {_BLOCKS_16}", transfer.orwrite),
    _compare("COMPARE AND WRITE", "89 18 ff ff ff ff ff ff ff ff .. .. .. ff .. 04", transfer.compare_and_write),
    _atomic("WRITE ATOMIC(16)", "9c 18 ff ff ff ff ff ff ff ff 00 00 ff ff .. 04", transfer.write_atomic),
    _look("PRE-FETCH(10)", f"34 02 {_BLOCKS_10}", cache.pre_fetch),
    _look("PRE-FETCH(16)", f"90 02 {_BLOCKS_16}", cache.pre_fetch),
    _flush("SYNCHRONIZE CACHE(10)", f"35 06 {_BLOCKS_10}", cache.synchronize_cache),
    _flush("SYNCHRONIZE CACHE(16)", f"91 06 {_BLOCKS_16}", cache.synchronize_cache),
    _defects("READ DEFECT DATA(10)", "37 .. 1f .. .. .. .. al al 04", diagnostics.read_defect_data),
    _defects("READ DEFECT DATA(12)", f"b7 1f {_ABOUT}", diagnostics.read_defect_data),
    # --- filling and freeing ---
    _same("WRITE SAME(10)", f"41 08 {_BLOCKS_10}", provisioning.write_same),
    _same("WRITE SAME(16)", f"93 09 {_BLOCKS_16}", provisioning.write_same),
    _change("UNMAP", "42 00 .. .. .. .. .. pl pl 04", provisioning.unmap, thin_only=True),
    _sanitize("SANITIZE OVERWRITE", "48 a1 00 00 00 00 00 pl pl 04", sanitize.overwrite, direction=_OUT),
    _sanitize("SANITIZE BLOCK ERASE", "48 a2 00 00 00 00 00 ff ff 04", sanitize.erase, thin_only=True),
    _sanitize("SANITIZE CRYPTOGRAPHIC ERASE", "48 a3 00 00 00 00 00 ff ff 04", sanitize.erase, thin_only=True),
    Command("SANITIZE EXIT FAILURE MODE", "48 bf 00 00 00 00 00 ff ff 04", sanitize.exit_failure, access=Access.WRITE),
    # --- reservations ---
    _reserve("RESERVE(6)", "16 00 .. .. .. 04", reserve.reserve, exclusive=True),
    _reserve("RELEASE(6)", "17 00 .. .. .. 04", reserve.release),
    _reserve("RESERVE(10)", "56 00 .. .. .. .. .. .. .. 04", reserve.reserve, exclusive=True),
    _reserve("RELEASE(10)", "57 00 .. .. .. .. .. .. .. 04", reserve.release),
    _identify("PERSISTENT RESERVE IN READ KEYS", f"5e 00 {_RESERVE_IN}", persistent_in.read_keys),
    _identify("PERSISTENT RESERVE IN READ RESERVATION", f"5e 01 {_RESERVE_IN}", persistent_in.read_reservation),
    _identify("PERSISTENT RESERVE IN REPORT CAPABILITIES", f"5e 02 {_RESERVE_IN}", persistent_in.report_capabilities),
    _identify("PERSISTENT RESERVE IN READ FULL STATUS", f"5e 03 {_RESERVE_IN}", persistent_in.read_full_status),
    _reserve_out("REGISTER", f"5f 00 {_RESERVE_OUT}", persistent_out.register),
    _reserve_out("RESERVE", f"5f 01 {_RESERVE_OUT}", persistent_out.reserve),
    _reserve_out("RELEASE", f"5f 02 {_RESERVE_OUT}", persistent_out.release),
    _reserve_out("CLEAR", f"5f 03 {_RESERVE_OUT}", persistent_out.clear),
    _reserve_out("PREEMPT", f"5f 04 {_RESERVE_OUT}", persistent_out.preempt),
    _reserve_out("PREEMPT AND ABORT", f"5f 05 {_RESERVE_OUT}", persistent_out.preempt_and_abort),
    _reserve_out("REGISTER AND IGNORE EXISTING KEY", f"5f 06 {_RESERVE_OUT}", persistent_out.register_and_ignore),
    _reserve_out("REGISTER AND MOVE", f"5f 07 {_RESERVE_OUT}", persistent_out.register_and_move),
    # --- copying ---
    _copy("EXTENDED COPY(LID1)", "83 00 .. .. .. .. .. .. .. .. pl pl pl pl .. 04", extended_copy.extended_copy),
    _populate("POPULATE TOKEN", "83 10 .. .. .. .. ff ff ff ff pl pl pl pl 3f 04", odx.populate_token),
    _change("WRITE USING TOKEN", "83 11 .. .. .. .. ff ff ff ff pl pl pl pl 3f 04", odx.write_using_token),
    _wait("COPY OPERATION ABORT", "83 1c ff ff ff ff .. .. .. .. .. .. .. .. .. 04", copy_results.copy_operation_abort),
    _sense("RECEIVE COPY STATUS(LID1)", f"84 00 ff .. .. .. {_ABOUT}", copy_results.copy_status),
    _sense("RECEIVE COPY OPERATING PARAMETERS", f"84 03 ff .. .. .. {_ABOUT}", copy_results.operating_parameters),
    _sense("RECEIVE COPY FAILED SEGMENT DETAILS", f"84 04 ff .. .. .. {_ABOUT}", copy_results.failed_segment_details),
    _sense("RECEIVE COPY STATUS(LID4)", f"84 05 ff ff ff ff {_ABOUT}", copy_results.copy_status_lid4),
    _sense("RECEIVE ROD TOKEN INFORMATION", f"84 07 ff ff ff ff {_ABOUT}", copy_results.rod_token_information),
    # --- about the target ---
    _report("REPORT TARGET PORT GROUPS", f"a3 2a {_ABOUT}", ports.report_target_port_groups),
    _report("REPORT SUPPORTED OPERATION CODES", f"a3 0c 87 ff ff ff {_ALLOCATION}", opcodes.report_operation_codes),
    _report(
        "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", "a3 0d 80 .. .. .. al al al al .. 04", ports.report_functions
    ),
    _report("REPORT TIMESTAMP", f"a3 0f {_ABOUT}", timestamp.report_timestamp),
    _select("SET TIMESTAMP", "a4 0f .. .. .. .. pl pl pl pl .. 04", timestamp.set_timestamp),
)

_BY_OPCODE: Final[dict[tuple[int, int | None], Command]] = {(line.opcode, line.action): line for line in TABLE}


def lookup(cdb: bytes) -> Command | None:
    """The command of a CDB, or None when its operation code or service action is not supported."""
    action = cdb[1] & SERVICE_ACTION if cdb[0] in WITH_ACTIONS else None
    return _BY_OPCODE.get((cdb[0], action))
