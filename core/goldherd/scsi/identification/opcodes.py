"""REPORT SUPPORTED OPERATION CODES: the command table, told to clients (SPC-4 6.35)."""

from goldherd.scsi.call import Call, Command
from goldherd.scsi.sense import invalid_field

_ALL, _OPCODE, _OPCODE_AND_ACTION, _EITHER = range(4)
_NOT_SUPPORTED, _SUPPORTED = 1, 3
_TIMEOUTS = bytes([0x00, 0x0A]) + bytes(10)
"""A command time-outs descriptor that claims nothing: nominal and recommended 0."""


def report_operation_codes(call: Call) -> bytes:
    """All commands, or one with its CDB usage map."""
    timeouts = bool(call.cdb[2] & 0x80)
    option = call.cdb[2] & 0x07
    commands = [command for command in call.table if command.available(call.unit)]
    if option == _ALL:
        descriptors = b"".join(_descriptor(command, timeouts) for command in commands)
        return len(descriptors).to_bytes(4) + descriptors
    if option > _EITHER:
        raise invalid_field(2, "REPORTING OPTIONS above 011b are reserved.", bit=2)
    return _one(commands, option, call.cdb[3], call.number(4, 2), timeouts)


def _descriptor(command: Command, timeouts: bool) -> bytes:
    action = command.action or 0
    flags = (0x02 if timeouts else 0) | (0x01 if command.action is not None else 0)  # CTDP, SERVACTV
    descriptor = bytes([command.opcode, 0]) + action.to_bytes(2) + bytes([0, flags])
    return descriptor + command.cdb_length.to_bytes(2) + (_TIMEOUTS if timeouts else b"")


def _one(commands: list[Command], option: int, opcode: int, action: int, timeouts: bool) -> bytes:
    """The one-command parameter data; a command that doesn't exist is an answer, not an error."""
    same = [command for command in commands if command.opcode == opcode]
    has_actions = any(command.action is not None for command in same)
    if option == _OPCODE and has_actions:
        raise invalid_field(3, f"Operation code {opcode:02X}h has service actions.")
    if option == _OPCODE_AND_ACTION and same and not has_actions:
        raise invalid_field(4, f"Operation code {opcode:02X}h has no service actions.")
    for command in same:
        if command.action is None or command.action == action:
            flags = (0x80 if timeouts else 0) | _SUPPORTED
            data = bytes([0, flags]) + command.cdb_length.to_bytes(2) + command.usage_map
            return data + (_TIMEOUTS if timeouts else b"")
    return bytes([0, _NOT_SUPPORTED, 0, 0])
