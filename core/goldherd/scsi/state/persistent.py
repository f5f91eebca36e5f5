"""The state of persistent reservations, and what it forbids (SPC-4 5.13).

Pure: no CDB, no file, no nexus. A change is made on a copy and put in place when it is complete (and on
disk, if it must survive power loss), so no reader ever sees half of one. The commands are in persistent_out.py
and persistent_in.py.
"""

import enum
from dataclasses import dataclass, field
from typing import Final

from goldherd.scsi.sam import Access, Port


class Type(enum.IntEnum):
    """Persistent reservation types (SPC-4 table 63); NONE is no reservation."""

    NONE = 0
    WRITE_EXCLUSIVE = 1
    EXCLUSIVE_ACCESS = 3
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 5
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY = 6
    WRITE_EXCLUSIVE_ALL_REGISTRANTS = 7
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS = 8


ALL_REGISTRANTS: Final = frozenset({Type.WRITE_EXCLUSIVE_ALL_REGISTRANTS, Type.EXCLUSIVE_ACCESS_ALL_REGISTRANTS})
REGISTRANTS_MAY: Final = ALL_REGISTRANTS | {
    Type.WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
    Type.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY,
}
"""The types under which every registrant has access, and gets a unit attention by a release."""
_READS_CONFLICT: Final = frozenset(
    {
        Type.EXCLUSIVE_ACCESS,
        Type.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY,
        Type.EXCLUSIVE_ACCESS_ALL_REGISTRANTS,
    }
)


@dataclass(slots=True)
class Reservations:
    """The registered nexuses with their keys, and the reservation."""

    registrations: dict[Port, int] = field(default_factory=dict)
    type: Type = Type.NONE
    holder: Port | None = None
    """The nexus that made the reservation; of the all-registrants types every registrant is a holder."""
    generation: int = 0
    """PRGENERATION, 32 bits; 0 after power on."""
    aptpl: bool = False
    """Activate persist through power loss, as the last REGISTER said."""

    def copy(self) -> "Reservations":
        """Another state with the same content."""
        return Reservations(dict(self.registrations), self.type, self.holder, self.generation, self.aptpl)

    def count_generation(self) -> None:
        """PRGENERATION counts registrations, CLEAR and PREEMPT (SPC-4 6.14.2)."""
        self.generation = (self.generation + 1) & 0xFFFFFFFF

    def is_holder(self, port: Port) -> bool:
        """Whether the reservation, if there is one, is (also) this port's."""
        if self.type in ALL_REGISTRANTS:
            return port in self.registrations
        return self.type is not Type.NONE and port == self.holder

    def conflicts(self, port: Port, access: Access) -> bool:
        """Whether a command of that kind from that port ends with RESERVATION CONFLICT (SPC-4 table 65)."""
        if self.type is Type.NONE or access in (Access.FREE, Access.STATUS) or self.is_holder(port):
            return False
        if self.type in REGISTRANTS_MAY and port in self.registrations:
            return False
        return access is Access.WRITE or self.type in _READS_CONFLICT

    def end_reservation(self) -> None:
        """There is no reservation any more; registrations stay."""
        self.type, self.holder = Type.NONE, None

    def unregister(self, port: Port) -> bool:
        """Removes a registration, and the reservation if it goes with it; returns whether it did.

        SPC-4 5.13.11.1: the all-registrants types end with the last registrant.
        """
        held = self.is_holder(port)
        self.registrations.pop(port, None)
        ends = held and (self.type not in ALL_REGISTRANTS or not self.registrations)
        if ends:
            self.end_reservation()
        elif port == self.holder:
            self.holder = next(iter(self.registrations))
        return ends
