"""How fast PDUs are taken off a byte stream: parse, number, dispatch, answer; no sockets, nothing but the core."""

import pytest
from goldherd.model.parameters import Parameters
from goldherd.reactor.events_out import EventQueue
from goldherd.reactor.inmemory import InMemoryReactor
from goldherd.wire.digest import crc32c

from bench.steady import Steady, group

pytestmark = group("framer: 1,000 pings taken off a byte stream and answered")

PDUS = 1000


def ping(header_digest: bool) -> bytes:
    """An immediate NOP-Out that wants an answer."""
    header = bytearray(48)
    header[0], header[1], header[19] = 0x40, 0x80, 1
    header[20:24] = b"\xff" * 4
    digest = crc32c(bytes(header)).to_bytes(4, "little") if header_digest else b""
    return bytes(header) + digest


@pytest.mark.parametrize("header_digest", [False, True], ids=["plain", "digest"])
@pytest.mark.parametrize("segment", [1448, 65536])
def test_pings(steady: Steady, header_digest: bool, segment: int) -> None:
    """1,000 NOP-Outs in segments as they come from a network card, or from loopback."""
    reactor = InMemoryReactor(0, EventQueue())
    reactor.connect(1, Parameters(header_digest=header_digest), {})
    stream = ping(header_digest) * PDUS
    pieces = [stream[at : at + segment] for at in range(0, len(stream), segment)]

    def run() -> int:
        return sum(len(reactor.receive(1, piece)) for piece in pieces)

    assert steady(run, pdus=PDUS) == len(stream)
