"""Sessions and connections are found among thousands, in whatever order they came and go."""

import random

import pytest
from goldherd.model.parameters import Parameters
from goldherd.reactor.events_out import ClosedEvent, EventQueue, NumberedEvent
from goldherd.reactor.inmemory import InMemoryReactor

SESSIONS = 1500


@pytest.mark.parametrize("step", [1, 2, 64, 1 << 20, (1 << 64) // SESSIONS])
def test_each_session_is_found_by_its_id(step: int) -> None:
    """Several reactors share the ids, so those of one reactor rise in steps."""
    reactor = InMemoryReactor(0, EventQueue())
    ids = [1 + number * step for number in range(SESSIONS)]
    for number, session_id in enumerate(ids):
        reactor.connect(session_id, Parameters(), {}, exp_cmd_sn=number)
    chance = random.Random(step)
    chance.shuffle(ids)
    for number, session_id in enumerate(ids):
        reactor.expect_connection(number, session_id)
    reactor.expect_connection(SESSIONS, ids[0] + 1 if step > 1 else SESSIONS + 1)
    reactor.step()
    *found, unknown = reactor.take_events()
    assert [event.numbers[0] for event in found if isinstance(event, NumberedEvent) and event.numbers] == [
        (session_id - 1) // step for session_id in ids
    ]
    assert unknown == NumberedEvent(SESSIONS, None)


def test_places_of_connections_that_ended_are_used_again() -> None:
    reactor = InMemoryReactor(0, EventQueue())
    chance = random.Random(1)
    open_: list[int] = []
    for session_id in range(1, SESSIONS):
        reactor.connect(session_id, Parameters(), {})
        open_.append(session_id)
        while open_ and chance.random() < 0.48:
            ended = open_.pop(chance.randrange(len(open_)))
            reactor.close_session(ended)
            reactor.step()
            (event,) = reactor.take_events()
            assert isinstance(event, ClosedEvent) and (event.session_id, event.last) == (ended, True)
    assert reactor.sessions == len(open_)
    for session_id in open_:
        assert reactor.is_open(session_id)
        reactor.hang_up(session_id)
    assert {event.session_id for event in reactor.take_events() if isinstance(event, ClosedEvent)} == set(open_)
    assert reactor.sessions == 0
