"""Limits before login: who is shown out, and who waits how long."""

from functools import partial

import pytest
from goldherd import limits
from goldherd.target.login_throttle import Doorkeeper, Visit, origin


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def fail(keeper: Doorkeeper, address: str, times: int) -> Visit:
    """Logins of that address that are refused."""
    visit = keeper.enter(address, lambda: None)
    for _ in range(times):
        keeper.failed(visit)
    keeper.leave(visit)
    return visit


def test_the_oldest_of_an_address_makes_room_for_its_newest() -> None:
    keeper, shown_out = Doorkeeper(10, 2), list[str]()
    for name in "abc":
        keeper.enter("192.0.2.1", partial(shown_out.append, name))
    keeper.enter("192.0.2.2", lambda: shown_out.append("other"))
    assert shown_out == ["a"]
    assert len(keeper) == 3


def test_the_oldest_of_all_makes_room_when_the_server_is_full() -> None:
    keeper, shown_out = Doorkeeper(2, 2), list[int]()
    for number in range(4):
        keeper.enter(f"192.0.2.{number}", partial(shown_out.append, number))
    assert shown_out == [0, 1]
    assert len(keeper) == 2


def test_who_has_left_is_not_shown_out() -> None:
    keeper, shown_out = Doorkeeper(1, 1), list[str]()
    first = keeper.enter("192.0.2.1", lambda: shown_out.append("first"))
    keeper.leave(first)
    keeper.leave(first)
    keeper.enter("192.0.2.1", lambda: shown_out.append("second"))
    assert shown_out == []


def test_room_is_made_only_where_somebody_is() -> None:
    keeper = Doorkeeper()
    assert not keeper.make_room()
    keeper.enter("192.0.2.1", lambda: None)
    assert keeper.make_room()
    assert len(keeper) == 0


def test_a_few_failures_cost_nothing() -> None:
    keeper = Doorkeeper(failures_free=3, clock=Clock())
    assert keeper.delay_seconds(fail(keeper, "192.0.2.1", 3)) == 0


def test_more_failures_cost_more_up_to_a_bound() -> None:
    keeper = Doorkeeper(failures_free=3, clock=Clock())
    assert keeper.delay_seconds(fail(keeper, "192.0.2.1", 4)) == limits.LOGIN_DELAY_SECONDS_STEP
    assert keeper.delay_seconds(fail(keeper, "192.0.2.1", 1)) == 2 * limits.LOGIN_DELAY_SECONDS_STEP
    assert keeper.delay_seconds(fail(keeper, "192.0.2.1", 1000)) == limits.LOGIN_DELAY_SECONDS_MAX


def test_another_address_does_not_wait() -> None:
    keeper = Doorkeeper(failures_free=0, clock=Clock())
    fail(keeper, "192.0.2.1", 1000)
    assert keeper.delay_seconds(fail(keeper, "192.0.2.2", 0)) == 0


def test_failures_are_forgiven() -> None:
    clock = Clock()
    keeper = Doorkeeper(failures_free=0, clock=clock)
    visit = fail(keeper, "192.0.2.1", 10_000)
    clock.now += limits.LOGIN_DELAY_SECONDS_MAX / limits.LOGIN_DELAY_SECONDS_STEP + 1
    assert keeper.delay_seconds(visit) == 0


def test_what_is_remembered_is_bounded() -> None:
    keeper = Doorkeeper(failures_free=0, clock=Clock())
    visits = [fail(keeper, f"10.0.{n >> 8}.{n & 255}", 5) for n in range(limits.LOGIN_FAILURE_ADDRESSES_MAX + 1)]
    assert keeper.delay_seconds(visits[0]) == 0
    assert keeper.delay_seconds(visits[1]) > 0


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_origin(address: str, expected: str) -> None:
    assert origin(address) == expected
