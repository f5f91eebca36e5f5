"""Signatures of codes.pyx: the enums of codes.pxd as Python sees them."""

from enum import IntEnum

class CloseReason(IntEnum):
    """Why a connection has ended."""

    CLOSE_PEER = 1
    CLOSE_LOGOUT = 2
    CLOSE_PROTOCOL = 3
    CLOSE_DIGEST = 4
    CLOSE_SILENT = 5
    CLOSE_STUCK = 6
    CLOSE_MEMORY = 7
    CLOSE_GAP = 8
    CLOSE_ALONE = 9

class PduFlag(IntEnum):
    """What happens to the connection when a PDU of the control plane has been sent; bits."""

    PDU_TAKES_STAT_SN = 1
    PDU_CLOSES = 2
    PDU_CLOSES_ALONE = 4

class Purpose(IntEnum):
    """What a task is for."""

    PURPOSE_READ = 1
    PURPOSE_WRITE = 2
    PURPOSE_FLUSH = 3
    PURPOSE_SLOW = 4
    PURPOSE_PDU = 5

class StepWork(IntEnum):
    """What a reactor's step spends its time on."""

    STEP_COMMANDS = 0
    STEP_MESSAGES = 1
    STEP_RECEIVE = 2
    STEP_SEND = 3
    STEP_WRITE = 4
    STEP_TIMERS = 5
