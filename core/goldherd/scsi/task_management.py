"""The effects of task management on units (SAM-5 section 7). Reactors and the control plane abort the tasks."""

from collections.abc import Iterable

from goldherd.scsi import sense as codes
from goldherd.scsi.state.device import LogicalUnit, Target
from goldherd.scsi.state.nexus import Nexus


def logical_unit_reset(unit: LogicalUnit, by: Nexus | None = None) -> None:  # noqa: ARG001 - all nexuses see the same
    """LOGICAL UNIT RESET: RESERVE, prevention and mode pages go; every nexus sees 29/03, the sender too."""
    with unit.lock:
        unit.reset()
        unit.attend(codes.LOGICAL_UNIT_RESET_OCCURRED)


def target_reset(target: Target, by: Nexus | None = None) -> None:  # noqa: ARG001
    """TARGET WARM RESET and COLD RESET: all units as by LOGICAL UNIT RESET; every nexus sees 29/02."""
    for unit in target.units.values():
        with unit.lock:
            unit.reset()
            unit.attend(codes.TARGET_RESET_OCCURRED)


def clear_task_set(unit: LogicalUnit, by: Nexus, aborted: Iterable[Nexus] | None = None) -> None:
    """CLEAR TASK SET: the others whose tasks were aborted see 2F/00 (TAS is 0).

    `aborted` are the nexuses that had tasks; None for every nexus of the unit.
    """
    with unit.lock:
        for nexus in unit.nexuses if aborted is None else aborted:
            if nexus is not by:
                nexus.attend(codes.COMMANDS_CLEARED_BY_ANOTHER_INITIATOR)
