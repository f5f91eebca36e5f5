"""One I_T_L nexus: the unit attentions that wait for it, and what the data plane must know about it.

Knows no command. A nexus lives from login to the end of the session; what outlives it (registrations, whether
the port was met before) is the logical unit's.
"""

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from goldherd import limits
from goldherd.errors import CommandError, Sense
from goldherd.scsi import sense as codes
from goldherd.scsi.copy_operation import CopyOperation

if TYPE_CHECKING:
    from goldherd.scsi.device import LogicalUnit


class Flag(enum.IntFlag):
    """What the data plane may not do itself for a nexus; 0 almost always."""

    SLOW_ALL = 1
    """Something is pending: a unit attention, another's RESERVE, a medium that is not ready."""
    SLOW_READ = 2
    """Reads conflict with a reservation."""
    SLOW_WRITE = 4
    """Writes conflict with a reservation, or the unit is write protected."""
    WRITE_THROUGH = 8
    """The write cache is off: every write is FUA."""
    SLOW_PREBUILT = 16
    """Prebuilt answers may not be used: MODE SENSE conflicts with a persistent reservation."""


class CopyResult(NamedTuple):
    """What became of an EXTENDED COPY command; `sense` is empty when all went well."""

    segments: int
    copied_bytes: int
    sense: bytes


class Nexus:
    """An initiator port on a target port, as one logical unit sees it.

    Args:
        unit: the logical unit.
        initiator_name: the initiator's iSCSI name, normalised.
        isid: the six bytes of the session's ISID.
        portal_group_tag: the tag of the target portal group; the target's first if not given.

    Join it to the unit with `unit.attach(nexus)`; before that it has no unit attentions.
    """

    def __init__(
        self, unit: "LogicalUnit", initiator_name: str, isid: bytes, portal_group_tag: int | None = None
    ) -> None:
        self.unit = unit
        self.initiator_name = initiator_name
        self.isid = isid
        self.relative_port = unit.target.portal_group_tags[0] if portal_group_tag is None else portal_group_tag
        """RELATIVE TARGET PORT IDENTIFIER of the target port it came through."""
        self.initiator_port = f"{initiator_name},i,0x{isid.hex()}"
        """RFC 7143 4.2.7.1: the name persistent reservations are bound to."""
        self.target_port = unit.target.port_name(self.relative_port)
        self.flags = 0
        self.on_flags: Callable[[Nexus], None] | None = None
        self.prevents_removal = False
        self.copy_results: dict[int, CopyResult] = {}
        """Status of finished EXTENDED COPY commands by list identifier, oldest first (SPC-4 6.20.2)."""
        self.operations: dict[int, CopyOperation] = {}
        """Copy operations by their 32-bit list identifier, the one begun first first (SPC-4 5.17.4)."""
        self._attentions: list[Sense] = []

    @property
    def port(self) -> tuple[str, str]:
        """(initiator port, target port): what identifies the nexus over sessions."""
        return self.initiator_port, self.target_port

    @property
    def attentions(self) -> tuple[Sense, ...]:
        """The unit attentions that wait, first to be reported first."""
        return tuple(self._attentions)

    def attend(self, sense: Sense) -> None:
        """Establishes a unit attention condition.

        A reset (29h) says all that waited before it, so it replaces them; equal ones collapse.
        """
        with self.unit.lock:
            if sense.asc == 0x29:
                self._attentions = [sense]
            elif sense not in self._attentions:
                self._attentions = [*self._attentions, sense][-limits.UNIT_ATTENTIONS_MAX :]
            self.unit.refresh_flags(self)

    def take_attention(self) -> Sense | None:
        """The unit attention to report now, cleared by being reported; None when nothing waits."""
        with self.unit.lock:
            if not self._attentions:
                return None
            sense = self._attentions.pop(0)
            self.unit.refresh_flags(self)
            return sense

    def clear_attention(self, sense: Sense) -> None:
        """Forgets one condition that the initiator has learnt otherwise."""
        with self.unit.lock:
            if sense in self._attentions:
                self._attentions.remove(sense)
                self.unit.refresh_flags(self)

    def keep_copy_result(self, list_identifier: int, result: CopyResult) -> None:
        """Holds the outcome of a copy for RECEIVE COPY RESULTS; the oldest goes when there are too many."""
        self.copy_results.pop(list_identifier, None)
        self.copy_results[list_identifier] = result
        while len(self.copy_results) > limits.COPY_RESULTS_MAX:
            self.copy_results.pop(next(iter(self.copy_results)))

    def begin_copy(self, list_identifier: int, operation: CopyOperation) -> bool:
        """Keeps a copy operation that begins; the one that ended first goes when there are too many.

        Returns: False when there is no place, because all are under way. Raises CommandError (05/00/16) while
        another with that list identifier is under way.
        """
        with self.unit.lock:
            before = self.operations.get(list_identifier)
            if before is not None and before.running:
                raise CommandError("A copy with that list identifier is under way.", sense=codes.OPERATION_IN_PROGRESS)
            self.operations.pop(list_identifier, None)
            if len(self.operations) >= limits.COPY_OPERATIONS_MAX:
                over = next((key for key, other in self.operations.items() if not other.running), None)
                if over is None:
                    return False
                del self.operations[over]
            self.operations[list_identifier] = operation
            return True

    def cancel_copies(self) -> None:
        """Ends the copy operations that are under way, each at its next step."""
        for operation in list(self.operations.values()):
            operation.cancel()

    def forget_copies(self) -> None:
        """Ends them, and forgets what is over: a reset, or the loss of the nexus (SPC-4 6.24)."""
        self.cancel_copies()
        self.copy_results.clear()
        self.operations.clear()

    def set_flags(self, flags: int) -> None:
        """Called by the unit; tells the data plane when something changed."""
        if flags != self.flags:
            self.flags = flags
            if self.on_flags is not None:
                self.on_flags(self)

    def __repr__(self) -> str:
        return f"<Nexus {self.initiator_port} -> {self.unit.target.name} LUN {self.unit.lun}>"
