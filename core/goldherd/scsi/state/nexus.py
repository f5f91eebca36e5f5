"""One I_T_L nexus: the unit attentions that wait for it, its copy operations, its flags for the data plane.

Knows no command and no unit; the unit that it was joined to is told of changes. A nexus lives from login to the end of
the session; registrations and the ports that were met before outlive it, so they are the logical unit's.
"""

import threading
from collections.abc import Callable
from typing import NamedTuple

from goldherd import limits
from goldherd.errors import CommandError, Sense
from goldherd.scsi import sense as codes
from goldherd.scsi.sam import Port
from goldherd.scsi.state.copy_operations import CopyOperation


class CopyResult(NamedTuple):
    """The outcome of an EXTENDED COPY command; `sense` is empty when the command succeeded."""

    segments: int
    copied_bytes: int
    sense: bytes


class Nexus:
    """An initiator port on a target port, as one logical unit sees it.

    Args:
        initiator_name: the initiator's iSCSI name, normalised.
        isid: the six bytes of the session's ISID.
        target_port: name of the target port (RFC 7143 4.2.7.1).
        relative_port: its RELATIVE TARGET PORT IDENTIFIER, the portal group tag.

    `Target.nexus` makes one, `LogicalUnit.attach` joins it to a unit; before that it has no unit attentions.
    """

    def __init__(self, initiator_name: str, isid: bytes, target_port: str, relative_port: int) -> None:
        self.initiator_name = initiator_name
        self.isid = isid
        self.relative_port = relative_port
        self.initiator_port = f"{initiator_name},i,0x{isid.hex()}"
        """RFC 7143 4.2.7.1: the name persistent reservations are bound to."""
        self.target_port = target_port
        self.flags = 0
        """NexusFlag bits, worked out by the unit."""
        self.on_flags: Callable[[Nexus], None] | None = None
        self.on_attention: Callable[[Nexus], None] | None = None
        """Set by the unit: called when unit attentions came or went, while no lock of the nexus is held."""
        self.prevents_removal = False
        self.copy_results: dict[int, CopyResult] = {}
        """Status of finished EXTENDED COPY commands by list identifier, oldest first (SPC-4 6.20.2)."""
        self.operations: dict[int, CopyOperation] = {}
        """Copy operations by their 32-bit list identifier, the one begun first first (SPC-4 5.17.4)."""
        self._lock = threading.Lock()
        self._attentions: list[Sense] = []

    @property
    def port(self) -> Port:
        """(initiator port, target port): what identifies the nexus over sessions."""
        return self.initiator_port, self.target_port

    @property
    def attentions(self) -> tuple[Sense, ...]:
        """The unit attentions that wait, first to be reported first."""
        return tuple(self._attentions)

    def attend(self, sense: Sense) -> None:
        """Establishes a unit attention condition.

        A reset (29h) implies all conditions that waited before it, so it replaces them; equal ones collapse.
        """
        with self._lock:
            if sense.asc == 0x29:
                self._attentions = [sense]
            elif sense not in self._attentions:
                self._attentions = [*self._attentions, sense][-limits.UNIT_ATTENTIONS_MAX :]
        self._tell()

    def take_attention(self) -> Sense | None:
        """The unit attention to report now, cleared by being reported; None when none waits."""
        with self._lock:
            if not self._attentions:
                return None
            sense = self._attentions.pop(0)
        self._tell()
        return sense

    def clear_attention(self, sense: Sense) -> None:
        """Forgets one condition that the initiator has learnt otherwise."""
        with self._lock:
            if sense not in self._attentions:
                return
            self._attentions.remove(sense)
        self._tell()

    def _tell(self) -> None:
        if self.on_attention is not None:
            self.on_attention(self)

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
        with self._lock:
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
        """Sets NexusFlag bits; called by the unit, and passed on to the data plane when they changed."""
        if flags != self.flags:
            self.flags = flags
            if self.on_flags is not None:
                self.on_flags(self)

    def __repr__(self) -> str:
        return f"<Nexus {self.initiator_port} -> {self.target_port}>"
