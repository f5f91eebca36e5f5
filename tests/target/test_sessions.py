"""The registry of sessions: found by what identifies them, spread over the reactors."""

from dataclasses import dataclass

import pytest
from goldherd.errors import ProtocolError
from goldherd.model.parameters import Parameters
from goldherd.model.targets import TargetConfig
from goldherd.negotiation.host import LoginResult
from goldherd.negotiation.states import SessionAction, Status
from goldherd.reactor.epoll import Reactor
from goldherd.reactor.events_out import EventQueue
from goldherd.target.sessions import Session, Sessions

TARGET = TargetConfig("iqn.2026-11.a:t", ())


def login(number: int, tsih: int, group: int = 1, target: TargetConfig | None = TARGET) -> LoginResult:
    """A finished login of one initiator with a numbered ISID."""
    return LoginResult(
        initiator="iqn.2026-11.a:i",
        initiator_alias="",
        config=target,
        isid=number.to_bytes(6, "big"),
        tsih=tsih,
        cid=0,
        action=SessionAction.NEW,
        replaces=None,
        cmd_sn=1,
        max_cmd_sn=1,
        stat_sn=1,
        parameters=Parameters(),
        authenticated=False,
        address="192.0.2.1:1",
        portal="192.0.2.2:3260",
        portal_group=group,
    )


@dataclass(frozen=True)
class Registry:
    sessions: Sessions

    def open(self, number: int, group: int = 1, target: TargetConfig | None = TARGET) -> Session:
        """One more session."""
        result = login(number, self.sessions.allocate_handle(), group, target)
        session = Session(self.sessions.next_id(), result, self.sessions.choose_reactor(), None)
        self.sessions.add(session)
        return session

    def find(self, number: int, group: int | None = 1) -> Session | None:
        return self.sessions.find("iqn.2026-11.a:i", number.to_bytes(6, "big"), TARGET.name, group)


@pytest.fixture
def registry() -> Registry:
    events = EventQueue()
    return Registry(Sessions([Reactor(number, events) for number in range(3)]))


def test_a_session_is_found_by_its_two_ports(registry: Registry) -> None:
    one, two, other_group = registry.open(1), registry.open(2), registry.open(1, group=2)
    assert registry.find(1) is one and registry.find(2) is two
    assert registry.find(1, group=2) is other_group
    assert registry.find(1, group=3) is None and registry.find(3) is None
    assert registry.find(1, group=None) in (one, other_group)
    assert registry.sessions.of_handle(two.tsih) is two


def test_a_discovery_session_is_never_found(registry: Registry) -> None:
    session = registry.open(1, target=None)
    assert registry.sessions.find(session.initiator, session.isid, None, 1) is None
    registry.sessions.remove(session)
    assert len(registry.sessions) == 0


def test_a_session_that_is_set_aside_leaves_its_place(registry: Registry) -> None:
    old = registry.open(1)
    registry.sessions.set_aside(old)
    assert registry.find(1) is None
    new = registry.open(1)
    registry.sessions.remove(old)
    assert registry.find(1) is new
    registry.sessions.remove(new)
    assert registry.find(1) is None


def test_the_reactor_with_the_fewest_sessions_gets_the_next(registry: Registry) -> None:
    sessions = [registry.open(number) for number in range(6)]
    assert sorted(session.reactor.number for session in sessions) == [0, 0, 1, 1, 2, 2]
    ended = [session for session in sessions if session.reactor.number == 1]
    for session in ended:
        registry.sessions.remove(session)
        registry.sessions.remove(session)  # twice changes nothing
    assert [registry.open(9 + number).reactor.number for number in range(2)] == [1, 1]


def test_a_handle_that_was_taken_meanwhile_is_refused(registry: Registry) -> None:
    first = registry.open(1)
    late = Session(registry.sessions.next_id(), login(2, first.tsih), first.reactor, None)
    with pytest.raises(ProtocolError) as refusal:
        registry.sessions.add(late)
    assert refusal.value.login_status == Status.OUT_OF_RESOURCES
    assert registry.find(2) is None and len(registry.sessions) == 1
