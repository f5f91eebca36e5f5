"""Commands about the state of the unit and its medium, that move no blocks (SPC-4 6, SBC-3 5)."""

from goldherd.errors import CommandError
from goldherd.scsi import sense as codes
from goldherd.scsi.call import Access, Call
from goldherd.scsi.sense import encode, invalid_field, invalid_parameter, progress
from goldherd.scsi.transfer import check_span, span_of


def test_unit_ready(call: Call) -> None:
    """TEST UNIT READY: all it tests was tested before."""


def request_sense(call: Call) -> bytes:
    """REQUEST SENSE: the unit attention to report, which is cleared by it, or why the unit is not ready."""
    descriptor = bool(call.cdb[1] & 0x01)
    attention = call.nexus.take_attention()
    if attention is not None:
        return encode(attention, descriptor=descriptor)
    try:
        call.unit.check_ready()
    except CommandError as error:
        done = call.unit.sanitize_progress
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
    if unit.sanitize_progress is not None:
        unit.check_ready()
    if not start and not no_flush and not unit.write_protected and not unit.ejected:
        unit.image.flush()
    if power_condition or not load_eject or not unit.removable:
        return
    with unit.lock:
        if any(nexus.prevents_removal for nexus in unit.nexuses):
            raise CommandError("Changing the medium is prevented.", sense=codes.MEDIUM_REMOVAL_PREVENTED)
        if unit.ejected == (not start):
            return
        unit.ejected = not start
        if start:
            unit.attend(codes.MEDIUM_MAY_HAVE_CHANGED, but=call.nexus)
        unit.changed()


def prevent_access(cdb: bytes) -> Access:
    """Allowing removal passes every reservation; preventing it does not."""
    return Access.WRITE if cdb[4] & 0x01 else Access.FREE


def prevent_allow_medium_removal(call: Call) -> None:
    """PREVENT ALLOW MEDIUM REMOVAL: per nexus (SPC-3 6.13)."""
    call.nexus.prevents_removal = bool(call.cdb[4] & 0x01)


def synchronize_cache(call: Call) -> None:
    """SYNCHRONIZE CACHE(10) and (16): everything is on stable storage when it answers, IMMED or not."""
    check_span(call.unit, *span_of(call.cdb))
    if not call.unit.image.read_only:
        call.unit.image.flush()


def pre_fetch(call: Call) -> None:
    """PRE-FETCH(10) and (16): only the range is checked; the cache below knows better what to hold."""
    check_span(call.unit, *span_of(call.cdb))


def read_defect_data(call: Call) -> bytes:
    """READ DEFECT DATA(10) and (12): there are no defects, in whatever format was asked for."""
    long = call.cdb[0] == 0xB7
    flags = call.cdb[1 if long else 2] & 0x1F
    return bytes([0, flags]) + bytes(6 if long else 2)


def send_diagnostic_length(cdb: bytes, block_size: int) -> int:  # noqa: ARG001 - the signature of all lengths
    """PARAMETER LIST LENGTH."""
    return int.from_bytes(cdb[3:5])


def send_diagnostic(call: Call) -> None:
    """SEND DIAGNOSTIC: the default self-test always passes; there are no diagnostic pages."""
    if send_diagnostic_length(call.cdb, 0):
        raise invalid_parameter(0, "There are no diagnostic pages.")


def log_sense(call: Call) -> bytes:
    """LOG SENSE: only the list of supported log pages, which names itself."""
    page, subpage = call.cdb[2] & 0x3F, call.cdb[3]
    if page or subpage not in (0x00, 0xFF):
        raise invalid_field(2, f"There is no log page {page:02X}h/{subpage:02X}h.", bit=5)
    if subpage:
        return bytes([0x40, 0xFF, 0, 4, 0x00, 0x00, 0x00, 0xFF])
    return bytes([0x00, 0x00, 0, 1, 0x00])
