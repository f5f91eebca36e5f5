"""Answers of a LUN that doesn't exist (SPC-4 6.6.2, 6.33, 6.39)."""

from collections.abc import Callable
from typing import Final

from goldherd.errors import CommandError
from goldherd.scsi import sense as codes
from goldherd.scsi.call import Reply
from goldherd.scsi.commands import lookup
from goldherd.scsi.execute import check_bits, cut
from goldherd.scsi.identification.inquiry import absent
from goldherd.scsi.identification.ports import lun_list
from goldherd.scsi.sam import Status
from goldherd.scsi.sense import encode, encode_error, invalid_field
from goldherd.scsi.state.device import Target


def execute_without_unit(target: Target, cdb: bytes) -> Reply:
    """The answer of a LUN that doesn't exist (SPC-4 6.6.2, 6.33, 6.39): it can be asked what it is not."""
    command = lookup(cdb)
    data = _ABSENT.get(cdb[0])
    if command is None or data is None:
        return Reply(Status.CHECK_CONDITION, encode(codes.LOGICAL_UNIT_NOT_SUPPORTED))
    cdb = cdb[: command.cdb_length]
    try:
        check_bits(command, cdb)
        return Reply(data_in=cut(command, cdb, data(target, cdb)))
    except CommandError as error:
        return Reply(Status.CHECK_CONDITION, encode_error(error, descriptor=False))


def _absent_inquiry(target: Target, cdb: bytes) -> bytes:  # noqa: ARG001 - the signature of all of them
    if cdb[1] & 0x01 or cdb[2]:
        raise CommandError("There is no such logical unit.", sense=codes.LOGICAL_UNIT_NOT_SUPPORTED)
    return absent()


def _absent_sense(target: Target, cdb: bytes) -> bytes:  # noqa: ARG001
    return encode(codes.LOGICAL_UNIT_NOT_SUPPORTED, descriptor=bool(cdb[1] & 0x01))


def _absent_report_luns(target: Target, cdb: bytes) -> bytes:
    if cdb[2] > 2:
        raise invalid_field(2, "SELECT REPORT must be 00h, 01h or 02h.")
    return lun_list(target, cdb[2])


_ABSENT: Final[dict[int, Callable[[Target, bytes], bytes]]] = {
    0x12: _absent_inquiry,
    0x03: _absent_sense,
    0xA0: _absent_report_luns,
}
