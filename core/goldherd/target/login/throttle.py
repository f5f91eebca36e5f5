"""The login throttle: how many connections may be in their login, and how long a peer that fails has to wait.

Theory of operation. A login that gets on takes milliseconds; one that stays says nothing. So when there are too many,
of one address or in all, the oldest is evicted and the new one comes in: 10,000 silent connections delay no login.

An address whose logins are refused more often than `failures_free` is delayed, more with each failure and up to a
bound: before its next login is looked at, and again before a refusal is answered. Both, because a delay of refusals
alone tells a guesser by its silence that the guess was wrong. Failures are forgiven one a second. Other addresses
are not delayed, and the number of remembered addresses is bounded.

Knows no socket: a connection is an address and a way to end it.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

from goldherd import limits

_IPV6_HOST_BITS: Final = 64
"""An IPv6 peer chooses its last 64 bits as it likes (RFC 4291 2.5.1): it is known by the first ones."""


@lru_cache(limits.ADDRESSES_READ_MAX)
def origin(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 network of an IPv6 address."""
    found = ip_address(address.partition("%")[0])
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return f"{IPv6Address(int(found) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS)}/{_IPV6_HOST_BITS}"


@dataclass(eq=False, slots=True)
class PendingLogin:
    """One connection in its login."""

    origin: str
    evict: Callable[[], object]
    """Ends it; called at most once, from within enter() or make_room()."""


class LoginThrottle:
    """Counts logins under way and failures, by origin.

    Args:
        logins_max: connections in their login at once, in all.
        logins_per_address: the same of one origin.
        failures_free: refused logins of one origin that cost it nothing.
        clock: seconds that only go on.
    """

    def __init__(
        self,
        logins_max: int = limits.LOGINS_MAX,
        logins_per_address: int = limits.LOGINS_PER_ADDRESS_MAX,
        failures_free: int = limits.LOGIN_FAILURES_FREE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.logins_max = logins_max
        self._logins_per_address = logins_per_address
        self._failures_free = failures_free
        self._clock = clock
        self._pending: OrderedDict[PendingLogin, None] = OrderedDict()
        self._by_origin: dict[str, OrderedDict[PendingLogin, None]] = {}
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Origin -> (failures not forgiven yet, when that was so); the one that failed last is at the end."""

    def __len__(self) -> int:
        return len(self._pending)

    def reconfigure(self, logins_max: int, logins_per_address: int, failures_free: int) -> None:
        """Other limits, for connections that come from now on."""
        self.logins_max, self._logins_per_address = logins_max, logins_per_address
        self._failures_free = failures_free

    def enter(self, address: str, evict: Callable[[], object]) -> PendingLogin:
        """A connection begins its login; the oldest one goes if there are too many."""
        pending = PendingLogin(origin(address), evict)
        same = self._by_origin.setdefault(pending.origin, OrderedDict())
        if len(same) >= self._logins_per_address:
            self._remove(next(iter(same)))
            same = self._by_origin.setdefault(pending.origin, OrderedDict())
        elif len(self._pending) >= self.logins_max:
            self.make_room()
            same = self._by_origin.setdefault(pending.origin, OrderedDict())
        same[pending] = self._pending[pending] = None
        return pending

    def leave(self, pending: PendingLogin) -> None:
        """Its login is over; may be called twice."""
        if pending not in self._pending:
            return
        del self._pending[pending]
        same = self._by_origin[pending.origin]
        del same[pending]
        if not same:
            del self._by_origin[pending.origin]

    def make_room(self) -> bool:
        """Evicts the oldest one; False when there is none."""
        if not self._pending:
            return False
        self._remove(next(iter(self._pending)))
        return True

    def _remove(self, pending: PendingLogin) -> None:
        self.leave(pending)
        pending.evict()

    # --- failures ---

    def failed(self, pending: PendingLogin) -> None:
        """A login of that origin was refused."""
        count = self._unforgiven(pending.origin) + 1
        self._failures[pending.origin] = (count, self._clock())
        self._failures.move_to_end(pending.origin)
        if len(self._failures) > limits.LOGIN_FAILURE_ADDRESSES_MAX:
            self._failures.popitem(last=False)

    def delay_seconds(self, pending: PendingLogin) -> float:
        """How long that origin has to wait now; 0 for nearly everybody."""
        over = self._unforgiven(pending.origin) - self._failures_free
        return min(max(over, 0.0) * limits.LOGIN_DELAY_SECONDS_STEP, limits.LOGIN_DELAY_SECONDS_MAX)

    def _unforgiven(self, origin: str) -> float:
        """Failures that still count."""
        if origin not in self._failures:
            return 0.0
        count, when = self._failures[origin]
        left = count - (self._clock() - when) * limits.LOGIN_FAILURES_FORGIVEN_PER_SECOND
        if left <= 0:
            del self._failures[origin]
            return 0.0
        return min(left, self._failures_free + limits.LOGIN_DELAY_SECONDS_MAX / limits.LOGIN_DELAY_SECONDS_STEP)
