"""The initiator's side of a login, and a host with real plugins and target records for the other side."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from goldherd.errors import LoginStatus
from goldherd.hooks import BUILTIN, Hooks
from goldherd.model.access import Address, Kind, Peer, Rule, UnresolvedError, peer_address
from goldherd.model.portals import Portal
from goldherd.model.targets import ChapCredentials, TargetConfig
from goldherd.negotiation.host import Exchange, LoginPolicy
from goldherd.negotiation.login import Login
from goldherd.wire import header, text
from goldherd.wire.opcodes import Flag

TARGET = "iqn.2026-11.io.goldherd:pc-001"
INITIATOR = "iqn.2026-11.io.goldherd.node:pc-001"
CREDENTIALS = ChapCredentials("pc-001", b"a secret of 16 b", "goldherd", b"another 16 bytes")


class Host:
    """A server's answers to a login: targets in a dictionary, sessions in another."""

    def __init__(self) -> None:
        self.hooks = Hooks((name, BUILTIN[name]) for name in ("auth_none", "auth_chap"))
        self.targets = {
            config.name: config
            for config in (
                TargetConfig(TARGET, (), alias="first pc", access=frozenset({Rule(Kind.INITIATOR, INITIATOR)})),
                TargetConfig("iqn.2026-11.io.goldherd:open", ()),
                TargetConfig("iqn.2026-11.io.goldherd:chap", (), credentials=CREDENTIALS),
            )
        }
        self.discovery_credentials: ChapCredentials | None = None
        self.sessions: dict[tuple[str, bytes, str | None], int] = {}
        self.cids: dict[int, set[int]] = {}
        self.next_tsih = 1
        self.connections_max = 1
        self.macs: dict[Address, str] = {}
        self.names: dict[str, Collection[Address]] = {}

    async def find_target(self, target: str) -> TargetConfig | None:
        return self.targets.get(target)

    async def check_redirect(self, initiator: str, target: str, portal: str) -> None:
        pass

    async def peer(self, initiator: str, address: str, target: TargetConfig) -> Peer:
        return Peer(initiator, peer_address(address), self)

    def mac_of(self, address: Address) -> str | None:
        return self.macs.get(address)

    def addresses_of(self, name: str) -> Collection[Address]:
        if name not in self.names:
            raise UnresolvedError([name])
        return self.names[name]

    async def start_login(self, initiator: str, target: TargetConfig | None) -> Exchange | None:
        credentials = target.credentials if target else self.discovery_credentials
        return await self.hooks.start_login(initiator, target.name if target else None, credentials)

    def find_session(self, initiator: str, isid: bytes, target: str | None, portal_group: int | None) -> int | None:
        return self.sessions.get((initiator, isid, target))

    def connections(self, tsih: int) -> Collection[int]:
        return self.cids[tsih]

    def max_connections(self, tsih: int) -> int:
        return self.connections_max

    def allocate_tsih(self) -> int:
        self.next_tsih += 1
        return self.next_tsih - 1

    def open_session(self, login: Login) -> int:
        """Keeps the session of a finished login, as a server does."""
        result = login.result
        assert result is not None
        self.sessions[result.initiator, result.isid, result.target] = result.tsih
        self.cids[result.tsih] = {result.cid}
        return result.tsih


@dataclass
class Reply:
    """One Login Response, taken apart."""

    header: header.LoginResponse
    data: bytes
    pairs: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> LoginStatus:
        return LoginStatus(self.header.status_class, self.header.status_detail)

    @property
    def transit(self) -> bool:
        return bool(self.header.flags & Flag.TRANSIT)

    @property
    def goes_on(self) -> bool:
        return bool(self.header.flags & Flag.CONTINUE)

    @property
    def stages(self) -> tuple[int, int]:
        """CSG and NSG."""
        return self.header.flags >> 2 & 3, self.header.flags & 3


class Initiator:
    """One connection of an initiator. `base` is what all its requests share."""

    def __init__(self, host: Host, policy: LoginPolicy | None = None, **base: Any) -> None:
        self.login = Login(host, Portal("192.0.2.1", 3260), "192.0.2.7", policy)
        self.base = header.LoginRequest(
            **{"isid": bytes.fromhex("00023d000001"), "itt": 7, "cid": 3, "cmd_sn": 5} | base
        )
        self.stat_sn: int | None = None

    def send(
        self,
        csg: int,
        nsg: int | None,
        keys: Mapping[str, str] | bytes = b"",
        *,
        goes_on: bool = False,
        **changes: Any,
    ) -> Reply:
        """One request, T=1 if nsg is given; its one response, numbered one after the other."""
        data = keys if isinstance(keys, bytes) else text.join(keys.items())
        flags = csg << 2 | (Flag.CONTINUE if goes_on else 0) | (0 if nsg is None else Flag.TRANSIT | nsg)
        request = replace(self.base, flags=flags, lengths=len(data), **changes)
        (pdu,) = asyncio.run(self.login.receive(request.pack(), data))
        assert len(pdu) % 4 == 0
        response = header.LoginResponse.read(pdu[:48])
        answer = pdu[48 : 48 + response.lengths]
        assert len(pdu) == 48 + response.lengths + header.padding(response.lengths)
        if self.stat_sn is not None:
            assert response.stat_sn == self.stat_sn + 1, "StatSN grows by one with each response"
        self.stat_sn = response.stat_sn
        whole = not response.flags & Flag.CONTINUE and answer.endswith(b"\0")
        return Reply(response, answer, text.parse(answer, {"CHAP_C": 4096, "CHAP_R": 4096}) if whole else {})


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def connect(host: Host) -> Callable[..., Initiator]:
    """Makes a connection to `host`: connect(policy=None, isid=..., tsih=...)."""
    return lambda policy=None, **base: Initiator(host, policy, **base)


@pytest.fixture
def names() -> dict[str, str]:
    """The keys of a first request that a normal session needs."""
    return {"InitiatorName": INITIATOR, "TargetName": TARGET, "SessionType": "Normal"}


@pytest.fixture
def chap_names() -> dict[str, str]:
    """The same for the target that asks for CHAP."""
    return {"InitiatorName": INITIATOR, "TargetName": "iqn.2026-11.io.goldherd:chap"}
