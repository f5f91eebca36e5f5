"""Opcodes, flags and codes of RFC 7143 section 11; one list for compiled code and for Python."""

cpdef enum Opcode:
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

cpdef enum Flag:
    IMMEDIATE = 0x40        # byte 0
    OPCODE_MASK = 0x3F      # byte 0
    FINAL = 0x80            # byte 1
    CONTINUE = 0x40         # byte 1, Login and Text
    TRANSIT = 0x80          # byte 1, Login
    COMMAND_READ = 0x40     # byte 1, SCSI Command
    COMMAND_WRITE = 0x20
    TASK_ATTRIBUTE = 0x07
    TASK_ATTRIBUTE_MAX = 4  # ACA; what is above means nothing
    ATTRIBUTE_MASK = 0x07
    RESIDUAL_OVERFLOW = 0x04    # byte 1, SCSI Response and Data-In
    RESIDUAL_UNDERFLOW = 0x02
    DATA_IN_STATUS = 0x01       # byte 1, Data-In
    DATA_IN_ACKNOWLEDGE = 0x40

cpdef enum Stage:
    SECURITY = 0
    OPERATIONAL = 1
    FULL_FEATURE = 3

cpdef enum RejectReason:
    REJECT_DATA_DIGEST = 0x02
    REJECT_SNACK = 0x03
    REJECT_PROTOCOL_ERROR = 0x04
    REJECT_COMMAND_NOT_SUPPORTED = 0x05
    REJECT_TOO_MANY_IMMEDIATE = 0x06
    REJECT_TASK_IN_PROGRESS = 0x07
    REJECT_INVALID_FIELD = 0x09
    REJECT_OUT_OF_RESOURCES = 0x0A
    REJECT_WAITING_FOR_LOGOUT = 0x0C

cpdef enum Sizes:
    BHS_BYTES = 48
    DIGEST_BYTES = 4

cpdef enum TaskManagement:
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

cdef enum:
    RESERVED_TAG = 0xFFFFFFFF   # no task: ITT and TTT (11.2.1.8, 11.19)
