"""Signatures of opcodes.pyx: the enums of opcodes.pxd as Python sees them."""

from enum import IntEnum

NO_TAG: int

class Opcode(IntEnum):
    """Byte 0 of a header without the I bit (RFC 7143 11.2.1.2)."""

    NOP_OUT = 0x00
    SCSI_COMMAND = 0x01
    TASK_MANAGEMENT_REQUEST = 0x02
    LOGIN_REQUEST = 0x03
    TEXT_REQUEST = 0x04
    DATA_OUT = 0x05
    LOGOUT_REQUEST = 0x06
    SNACK_REQUEST = 0x10
    NOP_IN = 0x20
    SCSI_RESPONSE = 0x21
    TASK_MANAGEMENT_RESPONSE = 0x22
    LOGIN_RESPONSE = 0x23
    TEXT_RESPONSE = 0x24
    DATA_IN = 0x25
    LOGOUT_RESPONSE = 0x26
    READY_TO_TRANSFER = 0x31
    ASYNC_MESSAGE = 0x32
    REJECT = 0x3F

class Flag(IntEnum):
    """Bits of bytes 0 and 1; which PDU a bit belongs to stands in opcodes.pxd."""

    IMMEDIATE = 0x40
    OPCODE_MASK = 0x3F
    FINAL = 0x80
    CONTINUE = 0x40
    TRANSIT = 0x80
    COMMAND_READ = 0x40
    COMMAND_WRITE = 0x20
    TASK_ATTRIBUTE = 0x07
    TASK_ATTRIBUTE_MAX = 4
    ATTRIBUTE_MASK = 0x07
    RESIDUAL_OVERFLOW = 0x04
    RESIDUAL_UNDERFLOW = 0x02
    DATA_IN_STATUS = 0x01
    DATA_IN_ACKNOWLEDGE = 0x40

class Stage(IntEnum):
    """CSG and NSG of a login (RFC 7143 11.12.3); 2 is reserved."""

    SECURITY = 0
    OPERATIONAL = 1
    FULL_FEATURE = 3

class RejectReason(IntEnum):
    """Byte 2 of a Reject (RFC 7143 11.17.1)."""

    REJECT_DATA_DIGEST = 0x02
    REJECT_SNACK = 0x03
    REJECT_PROTOCOL_ERROR = 0x04
    REJECT_COMMAND_NOT_SUPPORTED = 0x05
    REJECT_TOO_MANY_IMMEDIATE = 0x06
    REJECT_TASK_IN_PROGRESS = 0x07
    REJECT_INVALID_FIELD = 0x09
    REJECT_OUT_OF_RESOURCES = 0x0A
    REJECT_WAITING_FOR_LOGOUT = 0x0C

class Sizes(IntEnum):
    """Sizes of the fixed parts of a PDU, in bytes."""

    BHS_BYTES = 48
    DIGEST_BYTES = 4

class TaskManagement(IntEnum):
    """Functions of a task management request (RFC 7143 11.5.1, RFC 7144)."""

    ABORT_TASK = 1
    ABORT_TASK_SET = 2
    CLEAR_ACA = 3
    CLEAR_TASK_SET = 4
    LOGICAL_UNIT_RESET = 5
    TARGET_WARM_RESET = 6
    TARGET_COLD_RESET = 7
    TASK_REASSIGN = 8
    QUERY_TASK = 9
    QUERY_TASK_SET = 10
    I_T_NEXUS_RESET = 11
    QUERY_ASYNCHRONOUS_EVENT = 12

class FunctionResponse(IntEnum):
    """Responses to a task management request (RFC 7143 11.6.1)."""

    FUNCTION_COMPLETE = 0
    TASK_DOES_NOT_EXIST = 1
    LUN_DOES_NOT_EXIST = 2
    TASK_STILL_ALLEGIANT = 3
    REASSIGNMENT_NOT_SUPPORTED = 4
    FUNCTION_NOT_SUPPORTED = 5
    FUNCTION_AUTHORIZATION_FAILED = 6
    FUNCTION_REJECTED = 255

class LogoutReason(IntEnum):
    """Why an initiator logs out (RFC 7143 11.14.1)."""

    LOGOUT_CLOSES_SESSION = 0
    LOGOUT_CLOSES_CONNECTION = 1
    LOGOUT_FOR_RECOVERY = 2

class LogoutCode(IntEnum):
    """Responses to a Logout Request (RFC 7143 11.15.1)."""

    LOGOUT_SUCCEEDED = 0
    LOGOUT_CID_NOT_FOUND = 1
    LOGOUT_RECOVERY_NOT_SUPPORTED = 2
    LOGOUT_CLEANUP_FAILED = 3

class AsyncEvent(IntEnum):
    """What an Asynchronous Message tells (RFC 7143 11.9.1)."""

    EVENT_SCSI = 0
    EVENT_LOGOUT_REQUESTED = 1
    EVENT_CONNECTION_DROPPED = 2
    EVENT_SESSION_DROPPED = 3
    EVENT_NEGOTIATION_REQUESTED = 4
    EVENT_VENDOR = 255
