"""Commands about the target: REPORT LUNS, its ports, its task management (SPC-4 6.33, 6.36, 6.37)."""

from typing import Final

from goldherd.scsi import sense as codes
from goldherd.scsi.call import Call
from goldherd.scsi.identification.inquiry import PORT_GROUP
from goldherd.scsi.sense import invalid_field
from goldherd.scsi.state.device import Target

_PERIPHERAL_MAX = 0xFF
TASK_MANAGEMENT_FUNCTIONS: Final = 0x80 | 0x40 | 0x10 | 0x08 | 0x02
"""ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, TARGET RESET."""


def lun_list(target: Target, select_report: int) -> bytes:
    """LUN inventory (SPC-4 6.33): peripheral addressing below 256, flat space from there on (SAM-5 4.7)."""
    luns = sorted(target.units) if select_report != 1 else []
    entries = b"".join((lun if lun <= _PERIPHERAL_MAX else 0x4000 | lun).to_bytes(2) + bytes(6) for lun in luns)
    return len(entries).to_bytes(4) + bytes(4) + entries


def report_luns(call: Call) -> bytes:
    """REPORT LUNS; a nexus that reads the list needs no unit attention about it any more."""
    if call.cdb[2] > 2:
        raise invalid_field(2, "SELECT REPORT must be 00h, 01h or 02h.")
    call.nexus.clear_attention(codes.REPORTED_LUNS_DATA_CHANGED)
    return lun_list(call.unit.target, call.cdb[2])


def report_target_port_groups(call: Call) -> bytes:
    """REPORT TARGET PORT GROUPS: one group of all ports, always active/optimized (SPC-4 6.37)."""
    ports = call.unit.target.portal_group_tags
    group = (
        bytes([0x00, 0x01])  # active/optimized; of the states only that one occurs
        + PORT_GROUP.to_bytes(2)
        + bytes([0, 0, 0, len(ports)])  # no status
        + b"".join(port.to_bytes(4) for port in ports)
    )
    if call.cdb[1] & 0x20:  # extended header: length, format 1, implicit transition time not given
        return (len(group) + 4).to_bytes(4) + bytes([0x10, 0, 0, 0]) + group
    return len(group).to_bytes(4) + group


def report_functions(call: Call) -> bytes:
    """REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 6.36); with REPD no time-outs are claimed."""
    if call.cdb[2] & 0x80:
        return bytes([TASK_MANAGEMENT_FUNCTIONS, 0, 0, 0x0C]) + bytes(12)
    return bytes([TASK_MANAGEMENT_FUNCTIONS, 0, 0, 0])
