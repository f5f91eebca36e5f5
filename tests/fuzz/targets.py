"""The functions under fuzz. Each takes any bytes and must return; what it may raise, it swallows here by name.

Anything else that comes out is a finding.
"""

import os
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from goldherd.block.memory import MemoryImage
from goldherd.errors import ImageError
from goldherd.hooks import BUILTIN, Hooks
from goldherd.model.access import Address, Peer, peer_address
from goldherd.model.portals import Portal
from goldherd.model.targets import ChapCredentials, TargetConfig
from goldherd.negotiation.host import Exchange
from goldherd.negotiation.login import Login
from goldherd.negotiation.text_exchange import TextExchange
from goldherd.scsi.execute import execute
from goldherd.scsi.state.device import LogicalUnit, Target
from goldherd.wire import header
from goldherd_plugins.vhd.survey import survey

from tests.fuzz.framing.program import fuzz_framing
from tests.support.coroutines import finished

CORPUS: Final = Path(__file__).parent / "corpus"
LOGIN_REQUESTS_MAX: Final = 40
DISK_BYTES: Final = 1 << 20
COMMANDS_MAX: Final = 16
CDB_BYTES: Final = 16
TOKEN_HERE: Final = b"TOKEN"
"""How a WRITE USING TOKEN in an input asks for the token that was told last."""


class Host:
    """A server's answers to a login: one open target, one with CHAP, one session."""

    def __init__(self) -> None:
        self._hooks = Hooks((name, BUILTIN[name]) for name in ("auth_none", "auth_chap"))
        credentials = ChapCredentials("user", b"sixteen byte key", "target", b"another 16 bytes")
        targets = TargetConfig("iqn.2026-11.a:t", ()), TargetConfig("iqn.2026-11.a:c", (), credentials=credentials)
        self._targets = {"iqn.2026-11.a:t": targets[0], "iqn.2026-11.a:c": targets[1]}

    async def find_target(self, target: str) -> TargetConfig | None:
        return self._targets.get(target)

    async def check_redirect(self, initiator: str, target: str, portal: str) -> None:
        pass

    async def peer(self, initiator: str, address: str, target: TargetConfig) -> Peer:
        return Peer(initiator, peer_address(address), self)

    def mac_of(self, address: Address) -> str | None:
        return None

    def addresses_of(self, name: str) -> Collection[Address]:
        return ()

    async def start_login(self, initiator: str, target: TargetConfig | None) -> Exchange | None:
        name, credentials = (target.name, target.credentials) if target else (None, None)
        return await self._hooks.start_login(initiator, name, credentials)

    def find_session(self, initiator: str, isid: bytes, target: str | None, portal_group: int | None) -> int | None:
        return 7 if isid == bytes(6) else None

    def connections(self, tsih: int) -> Collection[int]:
        return (0,)

    def max_connections(self, tsih: int) -> int:
        return 2

    def allocate_tsih(self) -> int:
        return 9


HOST: Final = Host()


def fuzz_login(data: bytes) -> None:
    """A stream of Login Requests, framed as the server frames them."""
    login = Login(HOST, Portal("192.0.2.1", 3260), "192.0.2.7")
    for _ in range(LOGIN_REQUESTS_MAX):
        raw, data = data[:48], data[48:]
        if len(raw) < 48 or login.closed or login.finished:
            return
        _, length = header.segment_bytes(raw)
        padded = length + header.padding(length)
        text, data = data[:length], data[padded:]
        for answer in finished(login.receive(raw, text)):
            assert len(answer) % 4 == 0 and len(answer) >= 48
            assert header.opcode_of(answer) == 0x23


def fuzz_text(data: bytes) -> None:
    """A stream of Text Requests in full feature phase."""

    async def lines(value: str) -> list[tuple[str, str]]:
        return [("TargetName", "iqn.2026-11.a:t")] * min(len(value), 200)

    exchange = TextExchange(lines, 512)
    while len(data) >= 48:
        raw, data = data[:48], data[48:]
        _, length = header.segment_bytes(raw)
        text, data = data[:length], data[length + header.padding(length) :]
        (answer,) = finished(exchange.receive(raw, text))
        assert header.opcode_of(answer) in (0x24, 0x3F)


def fuzz_scsi(data: bytes) -> None:
    """Commands on a disk in memory: a command block, two bytes of length, the Data-Out; again."""
    target = Target("iqn.2026-11.a:t")
    unit = LogicalUnit(MemoryImage(DISK_BYTES), lun=0, target=target, identity="fuzz")
    nexus = target.nexus("iqn.2026-11.a:i", bytes(6))
    unit.attach(nexus)
    nexus.take_attention()
    token = b""
    for _ in range(COMMANDS_MAX):
        cdb, data = data[:CDB_BYTES], data[CDB_BYTES:]
        if len(cdb) < CDB_BYTES:
            return
        length, data = int.from_bytes(data[:2], "big"), data[2:]
        data_out, data = data[:length], data[length:]
        if cdb[0] == 0x48:  # SANITIZE takes five seconds by design
            continue
        if data_out[16:21] == TOKEN_HERE and token:  # no input can hold a token that is valid in this run
            data_out = data_out[:16] + token + data_out[528:]
        reply = execute(unit, nexus, cdb, data_out, expected_data_out=length)
        assert reply.status in (0x00, 0x02, 0x04, 0x08, 0x18, 0x28, 0x40)
        assert (reply.status == 0x02) == bool(reply.sense)
        assert internal_failure(reply.sense) is False, f"an exception in {cdb.hex()}"
        if reply.after is not None:
            reply.after()
        if cdb[:2] == b"\x84\x07" and len(reply.data_in) == 550:
            token = reply.data_in[38:]


def internal_failure(sense: bytes) -> bool:
    """04/44/00: what execute() makes of an exception that nobody foresaw."""
    if len(sense) < 4:
        return False
    key = (sense[1], sense[2]) if sense[0] & 0x7F >= 0x72 else (sense[2] & 0x0F, sense[12] if len(sense) > 12 else 0)
    return key == (0x04, 0x44)


def fuzz_vhd(data: bytes) -> None:
    """A file that claims to be a VHD: refused by name, or surveyed."""
    with tempfile.TemporaryFile() as file:
        os.write(file.fileno(), data)
        try:
            found = survey(file.fileno(), "fuzzed.vhd")
        except ImageError:
            return
        assert found.size_bytes >= 0


@dataclass(frozen=True)
class FuzzTarget:
    """A function, and the longest input that makes sense for it."""

    run: Callable[[bytes], None]
    bytes_max: int
    compiled: bool = False
    """Whether only coverage of the compiled modules can guide it."""


TARGETS: Final = {
    "login": FuzzTarget(fuzz_login, 4096),
    "text": FuzzTarget(fuzz_text, 4096),
    "scsi": FuzzTarget(fuzz_scsi, 2048),
    "vhd": FuzzTarget(fuzz_vhd, 8192),
    "framing": FuzzTarget(fuzz_framing, 2048, compiled=True),
}


def corpus(name: str) -> list[bytes]:
    """The inputs to begin with."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
