"""Commands about the condition of a unit and its medium: ready, started, ejected (SPC-4 section 6, SBC-3 section 5)."""

from goldherd.errors import CommandError
from goldherd.scsi import sense as codes
from goldherd.scsi.call import Call
from goldherd.scsi.sam import Access
from goldherd.scsi.sense import encode, progress


def test_unit_ready(call: Call) -> None:
    """TEST UNIT READY: all it tests was tested before."""


def request_sense(call: Call) -> bytes:
    """REQUEST SENSE: the unit attention to report, which is cleared by it, or why the unit is not ready."""
    descriptor = bool(call.cdb[1] & 0x01)
    attention = call.nexus.take_attention()
    if attention is not None:
        return encode(attention, descriptor=descriptor)
    try:
        call.unit.medium.check_ready()
    except CommandError as error:
        done = call.unit.medium.sanitize_progress
        return encode(error.sense, descriptor=descriptor, specific=b"" if done is None else progress(done))
    return encode(codes.NO_SENSE, descriptor=descriptor)


def start_stop_access(cdb: bytes) -> Access:
    """Starting the medium passes reservations; stopping, ejecting or a power condition does not."""
    return Access.STATUS if cdb[4] & 0x01 and not cdb[4] >> 4 else Access.WRITE


def start_stop_unit(call: Call) -> None:
    """START STOP UNIT. Stopping flushes and no more, because others may share the disk; ejecting needs a
    removable medium and is ignored otherwise."""
    unit = call.unit
    start, load_eject, no_flush, power_condition = (
        bool(call.cdb[4] & 0x01),
        bool(call.cdb[4] & 0x02),
        bool(call.cdb[4] & 0x04),
        call.cdb[4] >> 4,
    )
    if unit.medium.sanitize_progress is not None:
        unit.medium.check_ready()
    if not start and not no_flush and not unit.medium.ejected:
        unit.medium.flush()
    if power_condition or not load_eject or not unit.removable:
        return
    with unit.lock:
        if any(nexus.prevents_removal for nexus in unit.nexuses):
            raise CommandError("Changing the medium is prevented.", sense=codes.MEDIUM_REMOVAL_PREVENTED)
        if unit.medium.ejected == (not start):
            return
        unit.medium.ejected = not start
        if start:
            unit.attend(codes.MEDIUM_MAY_HAVE_CHANGED, but=call.nexus)
        unit.changed()


def prevent_access(cdb: bytes) -> Access:
    """Allowing removal passes every reservation; preventing it does not."""
    return Access.WRITE if cdb[4] & 0x01 else Access.FREE


def prevent(call: Call) -> None:
    """PREVENT ALLOW MEDIUM REMOVAL: per nexus (SPC-3 6.13)."""
    call.nexus.prevents_removal = bool(call.cdb[4] & 0x01)
