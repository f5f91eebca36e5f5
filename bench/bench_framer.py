"""How fast PDUs are taken off a byte stream: parse, number, dispatch, answer; no sockets, nothing but the core."""

from typing import Any

import pytest
from goldherd.model.parameters import Parameters
from goldherd.reactor.events_out import EventQueue
from goldherd.reactor.inmemory import InMemoryReactor
from goldherd.wire.digest import crc32c

PDUS = 1000
ROUNDS = {"rounds": 50, "warmup_rounds": 5}


def ping(header_digest: bool) -> bytes:
    """An immediate NOP-Out that wants an answer."""
    header = bytearray(48)
    header[0], header[1], header[19] = 0x40, 0x80, 1
    header[20:24] = b"\xff" * 4
    digest = crc32c(bytes(header)).to_bytes(4, "little") if header_digest else b""
    return bytes(header) + digest


@pytest.mark.parametrize("header_digest", [False, True], ids=["plain", "digest"])
@pytest.mark.parametrize("segment", [1448, 65536])
def test_pings(benchmark: Any, header_digest: bool, segment: int) -> None:
    """1,000 NOP-Outs in segments as they come from a network card, or from loopback."""
    reactor = InMemoryReactor(0, EventQueue())
    reactor.connect(1, Parameters(header_digest=header_digest), {})
    stream = ping(header_digest) * PDUS
    pieces = [stream[at : at + segment] for at in range(0, len(stream), segment)]

    def run() -> int:
        return sum(len(reactor.receive(1, piece)) for piece in pieces)

    assert benchmark.pedantic(run, **ROUNDS) == len(stream)
    benchmark.extra_info["pdus"] = PDUS
