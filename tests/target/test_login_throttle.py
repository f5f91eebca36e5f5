"""Limits before login: who is evicted, and who waits how long."""

from functools import partial

import pytest
from goldherd import limits
from goldherd.target.login.throttle import LoginThrottle, PendingLogin, origin


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def fail(throttle: LoginThrottle, address: str, times: int) -> PendingLogin:
    """Logins of that address that are refused."""
    pending = throttle.enter(address, lambda: None)
    for _ in range(times):
        throttle.failed(pending)
    throttle.leave(pending)
    return pending


def test_the_oldest_of_an_address_makes_room_for_its_newest() -> None:
    throttle, evicted = LoginThrottle(10, 2), list[str]()
    for name in "abc":
        throttle.enter("192.0.2.1", partial(evicted.append, name))
    throttle.enter("192.0.2.2", lambda: evicted.append("other"))
    assert evicted == ["a"]
    assert len(throttle) == 3


def test_the_oldest_of_all_makes_room_when_the_server_is_full() -> None:
    throttle, evicted = LoginThrottle(2, 2), list[int]()
    for number in range(4):
        throttle.enter(f"192.0.2.{number}", partial(evicted.append, number))
    assert evicted == [0, 1]
    assert len(throttle) == 2


def test_who_has_left_is_not_shown_out() -> None:
    throttle, evicted = LoginThrottle(1, 1), list[str]()
    first = throttle.enter("192.0.2.1", lambda: evicted.append("first"))
    throttle.leave(first)
    throttle.leave(first)
    throttle.enter("192.0.2.1", lambda: evicted.append("second"))
    assert evicted == []


def test_room_is_made_only_where_somebody_is() -> None:
    throttle = LoginThrottle()
    assert not throttle.make_room()
    throttle.enter("192.0.2.1", lambda: None)
    assert throttle.make_room()
    assert len(throttle) == 0


def test_a_few_failures_cost_nothing() -> None:
    throttle = LoginThrottle(failures_free=3, clock=Clock())
    assert throttle.delay_seconds(fail(throttle, "192.0.2.1", 3)) == 0


def test_more_failures_cost_more_up_to_a_bound() -> None:
    throttle = LoginThrottle(failures_free=3, clock=Clock())
    assert throttle.delay_seconds(fail(throttle, "192.0.2.1", 4)) == limits.LOGIN_DELAY_SECONDS_STEP
    assert throttle.delay_seconds(fail(throttle, "192.0.2.1", 1)) == 2 * limits.LOGIN_DELAY_SECONDS_STEP
    assert throttle.delay_seconds(fail(throttle, "192.0.2.1", 1000)) == limits.LOGIN_DELAY_SECONDS_MAX


def test_another_address_does_not_wait() -> None:
    throttle = LoginThrottle(failures_free=0, clock=Clock())
    fail(throttle, "192.0.2.1", 1000)
    assert throttle.delay_seconds(fail(throttle, "192.0.2.2", 0)) == 0


def test_failures_are_forgiven() -> None:
    clock = Clock()
    throttle = LoginThrottle(failures_free=0, clock=clock)
    pending = fail(throttle, "192.0.2.1", 10_000)
    clock.now += limits.LOGIN_DELAY_SECONDS_MAX / limits.LOGIN_DELAY_SECONDS_STEP + 1
    assert throttle.delay_seconds(pending) == 0


def test_what_is_remembered_is_bounded() -> None:
    throttle = LoginThrottle(failures_free=0, clock=Clock())
    pending = [fail(throttle, f"10.0.{n >> 8}.{n & 255}", 5) for n in range(limits.LOGIN_FAILURE_ADDRESSES_MAX + 1)]
    assert throttle.delay_seconds(pending[0]) == 0
    assert throttle.delay_seconds(pending[1]) > 0


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
