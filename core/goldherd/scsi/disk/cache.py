"""Commands about caches: SYNCHRONIZE CACHE and PRE-FETCH (SBC-3 5.9, 5.35)."""

from goldherd.scsi.call import Call
from goldherd.scsi.disk.extent import check_span, span_of


def synchronize_cache(call: Call) -> None:
    """SYNCHRONIZE CACHE(10) and (16): everything is on stable storage when it answers, IMMED or not."""
    check_span(call.unit, *span_of(call.cdb))
    call.unit.medium.flush()  # of a failed disk it raises, whether the disk takes writes or not


def pre_fetch(call: Call) -> None:
    """PRE-FETCH(10) and (16): only the range is checked; the caches of the image choose themselves what they hold."""
    check_span(call.unit, *span_of(call.cdb))
