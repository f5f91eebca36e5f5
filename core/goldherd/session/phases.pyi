"""Signatures of phases.pyx."""

from enum import IntEnum

class Phase(IntEnum):
    """What happens next with a task; the meaning of each stands in phases.pxd."""

    PHASE_FREE = 0
    PHASE_DATA_OUT = 1
    PHASE_BUFFER = 2
    PHASE_SUSPENDED = 3
    PHASE_POOL = 4
    PHASE_CONTROL = 5
    PHASE_SPACE = 6
    PHASE_READ = 7
    PHASE_REPLY = 8
    PHASE_R2T = 9
    PHASE_WRITE = 10
    PHASE_PDU = 11

TRANSITIONS: dict[Phase, dict[Phase, tuple[str, ...]]]
"""By phase: those that may follow it, and the functions that make it so."""

def may_follow(before: int, after: int) -> bool:
    """Whether check_phase() lets a phase follow another one."""
