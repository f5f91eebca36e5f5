"""What a daemon does for its golden images by itself: it watches their files and verifies them in turn."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from goldherd.services.context import Services
from goldherd.services.goldens.schedule import Schedule
from goldherd.services.goldens.watch import GoldenWatch, Readers


@contextmanager
def golden_upkeep(
    services: Services, live: Readers, every_seconds: float, rate: int
) -> Iterator[Callable[[], dict[str, Any]]]:
    """Looks after the golden images until the block ends; gives what `goldherd status` tells of them.

    Args:
        services: the catalog.
        live: tells who reads which image.
        every_seconds: after this time each image is verified again; 0: never.
        rate: bytes per second of that; 0 sets no bound.
    """
    schedule = Schedule(services, every_seconds, rate)
    watch = GoldenWatch(services, live, schedule.want)
    watch.start()
    schedule.start()
    try:
        yield lambda: {"golden_faults": watch.status(), "verifying": schedule.status()}
    finally:
        schedule.stop()
        watch.stop()
