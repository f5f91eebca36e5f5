"""Signatures of handover.pyx; the contracts stand there."""

from collections.abc import Mapping

from goldherd.model.handover import MovedNumbers
from goldherd.reactor.loop import Loop
from goldherd.scsi.fastpath.unit import HotNexus

def busy_sessions(reactor: Loop) -> dict[int, frozenset[int]]: ...
def export_sessions(reactor: Loop) -> dict[int, tuple[MovedNumbers, dict[int, int]]]: ...
def adopt_session(
    reactor: Loop,
    session_id: int,
    numbers: MovedNumbers,
    luns: Mapping[int, HotNexus],
    descriptors: Mapping[int, int],
) -> None: ...
