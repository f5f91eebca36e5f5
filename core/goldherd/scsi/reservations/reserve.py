"""RESERVE and RELEASE, 6 and 10: the whole unit for one nexus (SPC-2 7.16, 7.21; SPC-4 5.13.3 beside the
persistent kind)."""

from goldherd.scsi.call import Call, Reply
from goldherd.scsi.sam import Status

CONFLICT = Reply(Status.RESERVATION_CONFLICT)


def reserve(call: Call) -> Reply | None:
    """RESERVE(6) and (10). Where persistent registrations exist, a registrant is told GOOD and nothing
    happens (CRH, SPC-4 table 61); no other nexus gets the unit."""
    unit = call.unit
    with unit.lock:
        if unit.reserved_by is not None and unit.reserved_by is not call.nexus:
            return CONFLICT
        if unit.reservations.registrations:
            return None if call.nexus.port in unit.reservations.registrations else CONFLICT
        unit.reserved_by = call.nexus
        unit.changed()
    return None


def release(call: Call) -> None:
    """RELEASE(6) and (10): GOOD from everybody, with effect only from the holder."""
    unit = call.unit
    with unit.lock:
        if unit.reserved_by is call.nexus:
            unit.reserved_by = None
            unit.changed()
